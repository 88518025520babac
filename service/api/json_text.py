"""Reading JSON that a stranger wrote: quickly where it is sound, with the place of the fault where it is not.

NaN and Infinity get through, so that validation can say where they stand. A name given twice in one object does not:
one of the two values would be lost without a word.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from service.api.pointers import Place
from service.api.refusals import UnreadableBody, invalid_place

#: A batch of a thousand fits has some ten thousands.
MOST_FIELDS = 200_000


def parse(text: bytes) -> Any:
    """The value of a JSON text.

    Raises
    ------
    UnreadableBody
        It is not JSON; the line and column are named.
    InvalidRequest
        A field given twice, or more fields than any request has.
    """
    try:
        value = from_json(text)
    except ValueError as error:
        raise UnreadableBody(f"The body is not JSON: {error}.") from error
    fields = sum(len(item) for item in _objects(value))
    if fields > MOST_FIELDS:
        raise invalid_place((), f"There are {fields} fields.", f"at most {MOST_FIELDS}")
    # Every field has a colon of its own. Where there are no others, no field can have been given twice.
    if text.count(b":") != fields:
        _refuse_repeats(text)
    return value


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object, but for those in a list that begins with something else: most lists hold numbers, and are long."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from _objects(item)


class _Repeated(dict[str, Any]):
    """An object in which `name` was given twice."""

    name = ""


def _refuse_repeats(text: bytes) -> None:
    # The numbers do not matter here, and an integer of any length must not be a stumbling block.
    value = json.loads(text, object_pairs_hook=_object, parse_int=_nothing, parse_float=_nothing)
    for place, name in _repeats(value, ()):
        raise invalid_place((*place, name), "This field is given twice.", "each field once")


def _nothing(_: str) -> None:
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    repeated = _Repeated(value)
    repeated.name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return repeated


def _repeats(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, _Repeated):
        yield place, value.name
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for part, item in items:
            yield from _repeats(item, (*place, part))
