"""The body of POST /v1/fits. Only `data` is required; a stored fit shows it with every default filled in."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, JsonValue, Tag
from typing_extensions import TypeAliasType

from service.api.schemas.bodies import ColumnName, ColumnNames, Count, RequestPart, meaning, tag
from service.api.schemas.data import Data
from service.api.schemas.solver import Descent, Solver
from service.fitting.check import MOST_RECORDED_NUMBERS
from service.fitting.model import HIGHEST_DEGREE

_NAMED, _STEPS = tag("named"), tag("steps")

LABEL_KEY = "^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$"
LABEL_VALUE = "^[^\\x00-\\x1f\\x7f-\\x9f]{1,200}$"

Priority = Annotated[
    int, Field(ge=-100, le=100, description="Of the fits that wait, those of higher priority are begun first.")
]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE)]
Labels = Annotated[
    dict[LabelKey, LabelValue],
    Field(max_length=32, description="Short strings of your own, to find the fit by."),
]


_DESCENT: JsonValue = {
    "data": {"columns": {"x": [1, 2, 3, 4], "y": [3.1, 4.9, 7.2, 8.8]}},
    "scaling": {"features": "standard"},
    "solver": {"kind": "descent", "optimizer": {"kind": "sgd", "learning_rate": 0.1}, "epochs": 200},
    "record": {"every": {"steps": 10}},
}
_PARABOLA: JsonValue = {
    "data": {"columns": {"x": [1, 2, 3, 4, 5], "y": [1.1, 3.9, 9.2, 15.8, 25.1], "w": [1, 1, 2, 1, 0.5]}},
    "model": {"degree": 2, "weights": "w"},
    "solver": {"kind": "exact"},
    "inference": {"standard_errors": "hc3", "confidence_level": 0.9, "covariance": True},
    "others": ["scikit_learn", "r"],
}


class ModelOptions(RequestPart):
    """Which columns explain which."""

    features: Annotated[
        ColumnNames | None, Field(description="All columns that are not targets, weights or clusters, if left out.")
    ] = None
    targets: Annotated[
        # The core refuses an empty list in words that help more.
        Annotated[ColumnNames, Field(json_schema_extra={"minItems": 1})] | None,
        Field(description="y, or y1, y2, .. where such columns exist, if left out."),
    ] = None
    intercept: bool = True
    degree: Annotated[
        int,
        Field(
            ge=1,
            le=HIGHEST_DEGREE,
            description="Highest power of each feature; the terms of a feature x are x, x^2, .., without products.",
            examples=[2],
        ),
    ] = 1
    weights: Annotated[
        ColumnName | None,
        Field(
            description="The column of row weights: at least 0, some above 0; each multiplies its row's squared "
            "residuals. null: all rows count alike.",
            examples=["w"],
        ),
    ] = None


StandardErrors = Literal["classical", "hc0", "hc1", "hc2", "hc3", "clustered"]


class InferenceOptions(RequestPart):
    """What is asked about the reference besides its coefficients."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"standard_errors": "hc3", "confidence_level": 0.99}]})

    standard_errors: Annotated[
        StandardErrors,
        Field(
            description="classical: one residual variance for all rows. hc0 to hc3: each row its own, with "
            "small-sample corrections from hc1 on. clustered: rows may depend on each other within a cluster."
        ),
    ] = "classical"
    clusters: Annotated[
        ColumnName | None,
        Field(
            description="The column whose equal numbers mark the rows of one cluster; needed where standard_errors is "
            '"clustered", and only there.'
        ),
    ] = None
    confidence_level: Annotated[
        float, Field(gt=0, lt=1, allow_inf_nan=False, description="Of every interval: above 0, below 1.")
    ] = 0.95
    covariance: Annotated[bool, Field(description="Whether to answer the coefficients' covariance matrix too.")] = False
    collinearity: Annotated[
        bool,
        Field(description="Whether to answer variance inflation, condition indices and variance proportions too."),
    ] = False


OtherName = Literal["scikit_learn", "numpy", "statsmodels", "r"]
Others = Annotated[
    list[OtherName],
    Field(
        # Not `uniqueItems`: generators make a set of it, or a client that does not start.
        max_length=4,
        description="Programs whose answers to the same data are wanted beside the reference, none twice.",
        examples=[["scikit_learn", "r"]],
    ),
]


ExplanationName = Literal["broadcast"]
Explain = Annotated[
    list[ExplanationName],
    Field(
        max_length=1,
        description="What a descent's causes are to explain beside what explains itself. broadcast: what targets of "
        "shape (n,) against predictions of shape (n, 1) would have come to, for one target.",
        examples=[["broadcast"]],
    ),
]


ScalingName = Annotated[
    Literal["none", "standard", "minmax", "maxabs", "robust"],
    meaning(
        none="As they are.",
        standard="Less the mean, over the standard deviation (`StandardScaler`).",
        minmax="Less the least value, over the range (`MinMaxScaler`).",
        maxabs="Over the largest size (`MaxAbsScaler`); without a centre, so for models without an intercept too.",
        robust="Less the median, over the distance of the quartiles (`RobustScaler`).",
    ),
]


class ScalingOptions(RequestPart):
    """Units descent runs in, with scikit-learn's definitions; answers come in the user's units."""

    features: Annotated[ScalingName, Field(description="Of each feature, and each power of one, by itself.")] = "none"
    targets: Annotated[ScalingName, Field(description="Of each target by itself.")] = "none"


LossName = Annotated[
    Literal["mse", "sum_squares"],
    meaning(
        mse="Mean over rows of the mean over targets of the squared residual, as Keras's `mean_squared_error`.",
        sum_squares="Sum over rows and targets of the squared residual.",
    ),
]


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
    limit: Annotated[
        int,
        Field(
            ge=2,
            le=MOST_RECORDED_NUMBERS,
            description="Past so many rows they are thinned evenly. The first and the last are kept, and from 3 on "
            "that of least loss too.",
        ),
    ] = 10_000


class FitRequest(RequestPart):
    """What to fit, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DESCENT, _PARABOLA]})

    data: Data
    model: Annotated[ModelOptions, Field(default_factory=ModelOptions)]
    scaling: Annotated[ScalingOptions, Field(default_factory=ScalingOptions)]
    loss: Annotated[
        LossName,
        Field(description="The mean over rows and targets, as Keras has it, or the sum: the learning rate's scale."),
    ] = "mse"
    solver: Annotated[Solver, Field(default_factory=Descent)]
    inference: Annotated[InferenceOptions, Field(default_factory=InferenceOptions)]
    others: Annotated[Others, Field(default_factory=list)]
    explain: Annotated[Explain, Field(default_factory=list)]
    record: Annotated[RecordOptions, Field(default_factory=RecordOptions)]
    labels: Annotated[Labels, Field(default_factory=dict)]
    priority: Priority = 0

    def to_json(self) -> dict[str, Any]:
        """The body again, as JSON values, every default written out."""
        return self.model_dump(mode="json")
