"""The two kinds of bodies, and the number types they are made of.

A request part refuses what it does not know and takes JSON at its word: a boolean or a string is not a number, 1.5 is
not a count. Every check runs on pydantic's Rust side; a long list stops at its first fault.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

MEANINGS = "x-enum-descriptions"
LARGEST_INT64 = 2**63 - 1
MOST_COLUMNS = 5_000
LONGEST_COLUMN_NAME = 200


class RequestPart(BaseModel):
    """An object in a request: its fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ResponsePart(BaseModel):
    """An object in an answer: every field is always there."""

    model_config = ConfigDict(from_attributes=True, frozen=True, json_schema_serialization_defaults_required=True)


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
NonNegative = Annotated[float, Field(allow_inf_nan=False, ge=0)]
#: A part of a whole: nothing of it, all of it, or between.
Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]
#: A decay such as momentum: 0 keeps nothing, 1 would keep everything for ever.
Decay = Annotated[float, Field(allow_inf_nan=False, ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=LARGEST_INT64)]
Natural = Annotated[int, Field(ge=0, le=LARGEST_INT64)]

Numbers = Annotated[list[Finite], Field(fail_fast=True)]
Column = Annotated[list[Finite], Field(min_length=1, fail_fast=True)]
Row = Annotated[list[Finite], Field(min_length=1, max_length=MOST_COLUMNS, fail_fast=True)]
ColumnName = Annotated[str, Field(min_length=1, max_length=LONGEST_COLUMN_NAME)]
ColumnNames = Annotated[list[ColumnName], Field(max_length=MOST_COLUMNS, fail_fast=True)]


def meaning(**of_choices: str) -> FieldInfo:
    """What each choice of a `Literal` means, in its order, where generators of documentation look for it."""
    info: FieldInfo = Field(json_schema_extra={MEANINGS: list(of_choices.values())})
    return info


def kind_or(default: str = "") -> BeforeValidator:
    """Let an object in a union leave out ``kind`` and be taken for the usual one, or be told what kinds there are."""

    def fill(value: Any) -> Any:
        return {"kind": default, **value} if isinstance(value, dict) else value

    return BeforeValidator(fill)


def tag(name: str) -> str:
    """The tag of a union's member that has no ``kind``: no field or column is called so."""
    return f"\0{name}"


def form_of(forms: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Tell a union's members, by their tags in `forms`, from a field that only they have."""

    def form(value: Any) -> str | None:
        # Serialising asks this of a model, validating of whatever was sent.
        given = type(value).model_fields if isinstance(value, RequestPart) else value
        if not isinstance(given, dict):
            return None
        return next((form for field, form in forms.items() if field in given), None)

    return form


def list_depth(flat: str, nested: str) -> Callable[[Any], str]:
    """Tell a list of numbers from a list of lists by its first element."""

    def depth(value: Any) -> str:
        return nested if isinstance(value, list) and value and isinstance(value[0], list) else flat

    return depth
