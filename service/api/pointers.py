"""Places in a request body, as RFC 6901 pointers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Tag
from typing_extensions import TypeAliasType

Place = tuple[str | int, ...]
LONGEST_PART = 200


def to_pointer(place: Iterable[str | int]) -> str:
    """The pointer to a place; it ends early where a name is too long to be repeated."""
    parts = []
    for part in place:
        if len(str(part)) > LONGEST_PART:
            break
        parts.append("/" + str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(parts)


def place_in(body: Any, location: Sequence[str | int]) -> Place:
    """Where in `body` a pydantic error's location is: the location without the names of unions' members."""
    place: list[str | int] = []
    value, entered = body, False
    for part in location:
        if (entered and _names_kind(value, part)) or not _has(value, part):
            entered = False
            continue
        value, entered = value[part], True
        place.append(part)
    return tuple(place)


def _names_kind(value: Any, part: str | int) -> bool:
    return isinstance(value, dict) and value.get("kind") == part


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def known_fields(annotation: Any, location: Sequence[str | int]) -> tuple[str, ...]:
    """The fields of the object at a pydantic location inside a value of type `annotation`."""
    for part in location:
        annotation = _inside(annotation, part)
    for _, member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return tuple(member.model_fields)
    return ()


def _inside(annotation: Any, part: str | int) -> Any:
    for name, member in _members(annotation):
        if name == part:
            return member
        if isinstance(part, int) and get_origin(member) is list:
            return get_args(member)[0]
        if isinstance(member, type) and issubclass(member, BaseModel) and part in member.model_fields:
            return member.model_fields[str(part)].annotation
    return None


def _members(annotation: Any, name: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """The members of a union with the tags pydantic knows them by; of anything else, itself."""
    if isinstance(annotation, TypeAliasType):
        yield from _members(annotation.__value__, name)
    elif get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        tags = [item.tag for item in metadata if isinstance(item, Tag)]
        if tags:
            yield tags[0], inner
        else:
            yield from _members(inner, name)
    elif get_args(annotation) and get_origin(annotation) not in (list, dict, Literal):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield name or _kind(annotation), annotation


def _kind(annotation: Any) -> str | None:
    field = getattr(annotation, "model_fields", {}).get("kind")
    return str(get_args(field.annotation)[0]) if field else None
