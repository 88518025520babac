"""The body of POST /v1/fits. Only `data` is required; a stored fit shows it with every default filled in."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, JsonValue, Tag, WithJsonSchema
from typing_extensions import TypeAliasType

from service.api.schemas.bodies import ColumnNames, Count, RequestPart, tag
from service.api.schemas.data import Data
from service.api.schemas.solver import Descent, Solver

_NAMED, _STEPS = tag("named"), tag("steps")

LABEL_KEY = "^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$"
LABEL_VALUE = "^[^\\x00-\\x1f\\x7f-\\x9f]{1,200}$"

LabelKey = Annotated[str, Field(pattern=LABEL_KEY)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE)]
Labels = Annotated[
    dict[LabelKey, LabelValue],
    Field(max_length=32, description="Short strings of your own, to find the fit by."),
]


_EXAMPLE: JsonValue = {
    "data": {"columns": {"x": [1, 2, 3, 4], "y": [3.1, 4.9, 7.2, 8.8]}},
    "scaling": {"features": "standard"},
    "solver": {"kind": "descent", "optimizer": {"kind": "sgd", "learning_rate": 0.1}, "epochs": 200},
    "record": {"every": {"steps": 10}},
}


class ModelOptions(RequestPart):
    """Which columns explain which."""

    features: Annotated[ColumnNames | None, Field(description="All columns that are not targets, if left out.")] = None
    targets: Annotated[
        # The core refuses an empty list in words that help more.
        Annotated[ColumnNames, Field(json_schema_extra={"minItems": 1})] | None,
        Field(description="y, or y1, y2, .. where such columns exist, if left out."),
    ] = None
    intercept: bool = True
    degree: Annotated[int, Field(ge=1, le=1, description="Highest power of each feature; 1 for now.")] = 1
    weights: Annotated[
        None,
        # Of a field that is always null, some generators make a type that nothing can be assigned to.
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        Field(description="null for now: all rows count alike."),
    ] = None


class ScalingOptions(RequestPart):
    """Units descent runs in, with scikit-learn's definitions; answers come in the user's units."""

    features: Literal["none", "standard", "minmax"] = "none"
    targets: Literal["none", "standard", "minmax"] = "none"


class EverySteps(RequestPart):
    """Every so many steps."""

    steps: Count


Every = TypeAliasType(
    "Every",
    Annotated[
        Annotated[Literal["step", "epoch"], Tag(_NAMED)] | Annotated[EverySteps, Tag(_STEPS)],
        Discriminator(lambda value: _STEPS if isinstance(value, dict | EverySteps) else _NAMED),
    ],
)


class RecordOptions(RequestPart):
    """Which steps of a descent are written down."""

    every: Annotated[Every, Field(description="Each step, each epoch's last step, or every so many steps.")] = "epoch"
    coefficients: Annotated[bool, Field(description="Whether the coefficients are written down too.")] = True
    limit: Annotated[int, Field(ge=2, le=1_000_000, description="Past so many rows they are thinned evenly.")] = 10_000


class FitRequest(RequestPart):
    """What to fit, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    data: Data
    model: Annotated[ModelOptions, Field(default_factory=ModelOptions)]
    scaling: Annotated[ScalingOptions, Field(default_factory=ScalingOptions)]
    loss: Annotated[
        Literal["mse", "sum_squares"],
        Field(description="The mean over rows and targets, as Keras has it, or the sum: the learning rate's scale."),
    ] = "mse"
    solver: Annotated[Solver, Field(default_factory=Descent)]
    record: Annotated[RecordOptions, Field(default_factory=RecordOptions)]
    labels: Annotated[Labels, Field(default_factory=dict)]

    def to_json(self) -> dict[str, Any]:
        """The body again, as JSON values, every default written out."""
        return self.model_dump(mode="json")
