"""The body of POST /v1/fits/{id}/predictions, and its answer: column by column, one entry a row."""

from typing import Annotated

from pydantic import ConfigDict, Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from service.api.schemas.bodies import (
    MOST_COLUMNS,
    ColumnName,
    Finite,
    Numbers,
    RequestPart,
    ResponsePart,
    form_of,
    list_depth,
    tag,
)

MOST_NEW_ROWS = 100_000

_FLAT, _ROWS = tag("flat"), tag("rows")
_COLUMNS, _ARRAY = tag("columns"), tag("array")

NewColumn = Annotated[list[Finite], Field(min_length=1, max_length=MOST_NEW_ROWS, fail_fast=True)]

NewMatrix = TypeAliasType(
    "NewMatrix",
    Annotated[
        Annotated[NewColumn, Tag(_FLAT)]
        | Annotated[list[Numbers], Field(min_length=1, max_length=MOST_NEW_ROWS, fail_fast=True), Tag(_ROWS)],
        Discriminator(list_depth(_FLAT, _ROWS)),
    ],
)


class NewColumns(RequestPart):
    """The fit's features by name, and nothing else."""

    columns: Annotated[dict[ColumnName, NewColumn], Field(min_length=1, max_length=MOST_COLUMNS)]


class NewRows(RequestPart):
    """The fit's features in their order, row by row; a flat list is one column."""

    x: NewMatrix


NewData = TypeAliasType(
    "NewData",
    Annotated[
        Annotated[NewColumns, Tag(_COLUMNS)] | Annotated[NewRows, Tag(_ARRAY)],
        Discriminator(
            form_of({"columns": _COLUMNS, "x": _ARRAY}),
            custom_error_type="new_data_form",
            custom_error_message="This is none of the forms that new rows can take.",
        ),
    ],
)


class PredictionRequest(RequestPart):
    """Rows to predict, of which only the features are known."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": {"columns": {"x": [5, 6, 7.5]}}}]})

    data: NewData
    confidence_level: Annotated[
        Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None,
        Field(description="Of every interval: above 0, below 1. null: the fit's own."),
    ] = None


Reals = list[float | None]


class Predicted(ResponsePart):
    """One target's values, and the two intervals around each; null where there is none."""

    estimate: Reals
    confidence_low: Reals = Field(description="The interval of the mean of all targets with such features.")
    confidence_high: Reals
    prediction_low: Reals = Field(description="The interval of one new target.")
    prediction_high: Reals


class TargetPrediction(ResponsePart):
    """What is predicted for one target."""

    target: str
    fit: Predicted = Field(description="By the fit's own coefficients; the reference's intervals, about its estimate.")
    reference: Predicted = Field(description="By the reference's coefficients.")
    std_error: Reals = Field(description="Of the reference's estimate; classical, whatever the coefficients' are.")
    reason: str | None = Field(description="Why there are no intervals; null where there are.")


class Extrapolation(ResponsePart):
    """How far each row is from those that were fitted."""

    outside: list[list[str]] = Field(description="Features whose value is outside the range that was fitted.")
    leverage: Reals = Field(
        description="a'(A'SA)^-1 a of the row a; null where it is not estimable, or the fit is penalised."
    )
    beyond_leverage: list[bool] = Field(
        description="Whether that is more than of any fitted row: a combination of features far from theirs, be each "
        "of them in its range."
    )
    estimable: list[bool] = Field(
        description="Whether the data determine the prediction, even if not each coefficient."
    )


class Predictions(ResponsePart):
    """Predictions for new rows. Every list but `targets` has one entry a row."""

    rows: int
    confidence_level: float
    targets: list[TargetPrediction]
    extrapolation: Extrapolation
