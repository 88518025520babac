"""How to minimise. Defaults are Keras's where Keras has one."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from service.api.schemas.bodies import (
    Count,
    Decay,
    Finite,
    Natural,
    Numbers,
    Positive,
    RequestPart,
    Row,
    kind_or,
    list_depth,
    tag,
)

_FLAT, _ROWS, _ONE, _MANY = tag("flat"), tag("rows"), tag("one"), tag("many")


class Sgd(RequestPart):
    """Gradient descent, plain, with momentum, or with Nesterov's variant of it (Keras `SGD`)."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False


class Rmsprop(RequestPart):
    """The gradient over a running root mean square of itself (Keras `RMSprop`)."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Positive = 0.001
    rho: Decay = 0.9
    momentum: Decay = 0.0
    epsilon: Positive = 1e-7
    centered: bool = False


Optimizer = TypeAliasType("Optimizer", Annotated[Sgd | Rmsprop, Field(discriminator="kind"), kind_or("sgd")])


class ZerosStart(RequestPart):
    """All parameters 0, in the units descent runs in."""

    kind: Literal["zeros"] = "zeros"


StartCoefficients = TypeAliasType(
    "StartCoefficients",
    Annotated[
        Annotated[Numbers, Tag(_FLAT)] | Annotated[list[Row], Field(fail_fast=True), Tag(_ROWS)],
        Discriminator(list_depth(_FLAT, _ROWS)),
    ],
)

StartIntercept = TypeAliasType(
    "StartIntercept",
    Annotated[
        Annotated[Finite, Tag(_ONE)] | Annotated[Numbers, Tag(_MANY)],
        Discriminator(lambda value: _MANY if isinstance(value, list) else _ONE),
    ],
)


class ValuesStart(RequestPart):
    """Given parameters."""

    kind: Literal["values"] = "values"
    coefficients: Annotated[
        StartCoefficients,
        Field(description="One row a feature, one number a target; a flat list where there is one target."),
    ]
    intercept: Annotated[
        StartIntercept | None,
        Field(description="One number a target; null where the model has no intercept."),
    ] = None
    units: Annotated[
        Literal["original", "scaled"],
        Field(description="The user's units, or those descent runs in after scaling."),
    ] = "original"


class GlorotUniformStart(RequestPart):
    """Drawn as Keras's `Dense` draws its weights, from the solver's seed; the intercept is 0."""

    kind: Literal["glorot_uniform"] = "glorot_uniform"


class NormalStart(RequestPart):
    """Normal with mean 0, from the solver's seed; the intercept is 0."""

    kind: Literal["normal"] = "normal"
    stddev: Positive = 0.05


Start = TypeAliasType(
    "Start",
    Annotated[
        ZerosStart | ValuesStart | GlorotUniformStart | NormalStart,
        Field(discriminator="kind"),
        kind_or("zeros"),
    ],
)


class Stop(RequestPart):
    """When to stop before the last step; looked at once an epoch, null is never."""

    gradient_tolerance: Annotated[
        Positive | None, Field(description="Norm of the full-data gradient in descent's units, at or below.")
    ] = None
    loss_tolerance: Annotated[
        Positive | None, Field(description="Change of the full-data loss over an epoch, at or below.")
    ] = None
    gap_tolerance: Annotated[
        Positive | None, Field(description="Distance to the reference in the user's units, at or below.")
    ] = None
    max_seconds: Annotated[Positive | None, Field(description="Wall-clock seconds of descent.")] = None


class L2Penalty(RequestPart):
    """Ridge: loss + strength * sum of squared coefficients, in descent's units; the intercept is left free.

    Keras's `kernel_regularizer=L2(strength)`; scikit-learn's `Ridge(alpha)` with alpha = strength * rows * targets
    where the loss is `mse`, and alpha = strength where it is `sum_squares`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "l2", "strength": 0.01}]})

    kind: Literal["l2"] = "l2"
    strength: Positive


Penalty = TypeAliasType("Penalty", Annotated[L2Penalty, Field(discriminator="kind"), kind_or("l2")])

PenaltyOption = Annotated[
    Penalty | None,
    Field(description="Added to the loss; the reference is then the penalised optimum. null: nothing is added."),
]


class Exact(RequestPart):
    """The optimum in closed form, penalised or not: the reference itself."""

    kind: Literal["exact"] = "exact"
    penalty: PenaltyOption = None


class Descent(RequestPart):
    """Gradient descent, with every step on record."""

    kind: Literal["descent"] = "descent"
    backend: Literal["numpy", "tensorflow"] = "numpy"
    dtype: Literal["float32", "float64"] = "float64"
    optimizer: Annotated[Optimizer, Field(default_factory=Sgd, description="Plain SGD if left out.")]
    epochs: Annotated[
        Count,
        Field(
            description="Passes over all rows: 100 if left out, or as many as max_steps needs where that is given.",
            # A client that knew of a default would send it, and so leave nothing out.
            json_schema_extra=lambda schema: schema.pop("default"),
        ),
    ] = 100
    max_steps: Annotated[Count | None, Field(description="Weight updates, if that is fewer than the epochs hold.")] = (
        None
    )
    batch_size: Annotated[
        Count | None, Field(description="Rows a step; null, or more than there are, is all of them.")
    ] = None
    shuffle: Annotated[bool, Field(description="A new order of the rows every epoch.")] = False
    drop_last: Annotated[bool, Field(description="Leave out an epoch's last batch where it is short.")] = False
    seed: Annotated[
        Natural,
        Field(description="Of the shuffles and random starts. JavaScript keeps integers only up to 2^53 - 1."),
    ] = 0
    start: Annotated[Start, Field(default_factory=ZerosStart, description="Zeros if left out.")]
    stop: Annotated[Stop, Field(default_factory=Stop)]
    penalty: PenaltyOption = None


Solver = TypeAliasType("Solver", Annotated[Exact | Descent, Field(discriminator="kind"), kind_or("descent")])
