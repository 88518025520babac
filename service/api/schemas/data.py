"""Where a fit's numbers come from: inline, a stored dataset, or a built-in case."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from service.api.schemas.bodies import (
    MOST_COLUMNS,
    Column,
    ColumnName,
    RequestPart,
    Row,
    form_of,
    list_depth,
    tag,
)

_FLAT, _ROWS = tag("flat"), tag("rows")
_COLUMNS, _ARRAYS, _DATASET, _CASE = tag("columns"), tag("arrays"), tag("dataset"), tag("case")
_FORMS = {"columns": _COLUMNS, "x": _ARRAYS, "y": _ARRAYS, "dataset": _DATASET, "case": _CASE}

Matrix = TypeAliasType(
    "Matrix",
    Annotated[
        Annotated[Column, Tag(_FLAT)] | Annotated[list[Row], Field(min_length=1, fail_fast=True), Tag(_ROWS)],
        Discriminator(list_depth(_FLAT, _ROWS)),
    ],
)


class InlineColumns(RequestPart):
    """Named columns of equal length."""

    columns: Annotated[
        dict[ColumnName, Column],
        Field(min_length=1, max_length=MOST_COLUMNS, description="One list of finite numbers a column."),
    ]


class InlineArrays(RequestPart):
    """Features and targets, row by row; a flat list is one column. They are named x1.., and y or y1.."""

    x: Matrix
    y: Matrix


class StoredDataset(RequestPart):
    """A dataset the service already has."""

    dataset: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="A dataset's id, as fits report it.")]


class BuiltInCase(RequestPart):
    """The data of one of the built-in cases."""

    case: Annotated[str, Field(min_length=1, max_length=100, description="A name from GET /v1/cases.")]


Data = TypeAliasType(
    "Data",
    Annotated[
        Annotated[InlineColumns, Tag(_COLUMNS)]
        | Annotated[InlineArrays, Tag(_ARRAYS)]
        | Annotated[StoredDataset, Tag(_DATASET)]
        | Annotated[BuiltInCase, Tag(_CASE)],
        Discriminator(
            form_of(_FORMS),
            custom_error_type="data_form",
            custom_error_message="This is none of the forms that data can take.",
        ),
    ],
)
