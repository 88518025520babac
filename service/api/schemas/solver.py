"""How to minimise. Defaults are Keras's where Keras has one."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from service.api.schemas.bodies import (
    Count,
    Finite,
    Natural,
    Numbers,
    Positive,
    RequestPart,
    Row,
    kind_or,
    list_depth,
    meaning,
    tag,
)
from service.api.schemas.optimizer import Optimizer, Sgd

_FLAT, _ROWS, _ONE, _MANY = tag("flat"), tag("rows"), tag("one"), tag("many")


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
        meaning(original="The user's units.", scaled="Those descent runs in after scaling."),
        Field(description="What the numbers are in."),
    ] = "original"


class GlorotUniformStart(RequestPart):
    """Drawn as Keras's `Dense` draws its weights, from the solver's seed; the intercept is 0."""

    kind: Literal["glorot_uniform"] = "glorot_uniform"


class NormalStart(RequestPart):
    """Normal with mean 0, from the solver's seed; the intercept is 0."""

    kind: Literal["normal"] = "normal"
    stddev: Annotated[Positive, Field(description="Of each coefficient.")] = 0.05


class FitStart(RequestPart):
    """Where another fit ended, to go on as if it had never stopped: 50 epochs and 50 more are 100, to the last bit.

    Its coefficients are always taken over. The place in the batch plan goes on with the same data, model and scaling,
    batch_size, drop_last, shuffle and seed. What the optimizer remembers of its steps, and their number, by which
    schedules go, goes on in the same units with the same kind of optimizer, where momentum, centered, amsgrad and
    use_ema are on or off as they were; its learning rate and other options may be new. In the same units are fits with
    the same scaling of the same data, and all fits without scaling, whose new data keep what the optimizer remembers.
    What does not go on begins anew. An exact fit, and one that diverged, can be started from too. Steps are counted
    from 0 again; `outcome.iterations` says the number of updates in all.
    """

    kind: Literal["fit"] = "fit"
    # As text it is strict enough.
    fit: Annotated[
        UUID, Field(strict=False, description="The id of a fit that has succeeded, with the same terms and targets.")
    ]


Start = TypeAliasType(
    "Start",
    Annotated[
        ZerosStart | ValuesStart | GlorotUniformStart | NormalStart | FitStart,
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
    strength: Annotated[Positive, Field(description="What the sum of squared coefficients is multiplied by.")]


Penalty = TypeAliasType("Penalty", Annotated[L2Penalty, Field(discriminator="kind"), kind_or("l2")])

PenaltyOption = Annotated[
    Penalty | None,
    Field(description="Added to the loss; the reference is then the penalised optimum. null: nothing is added."),
]


class Exact(RequestPart):
    """The optimum in closed form, penalised or not: the reference itself."""

    kind: Literal["exact"] = "exact"
    penalty: PenaltyOption = None


Backend = Annotated[
    Literal["numpy", "tensorflow"],
    meaning(
        numpy="Compiled by Numba: by the data's sums where the batches are fixed, by the rows where they are not.",
        tensorflow="Compiled by XLA, with automatic differentiation; on a GPU where there is one.",
    ),
]
Precision = Annotated[
    Literal["float32", "float64"],
    meaning(
        float32="About 7 digits: Keras's own, unless it is told otherwise.",
        float64="About 16 digits.",
    ),
]
Engine = Annotated[
    Literal["numpy_rows", "numpy_statistics", "numpy_closed_form", "tensorflow_xla", "least_squares"],
    meaning(
        numpy_rows="Backend numpy, a batch's rows visited at each step.",
        numpy_statistics="Backend numpy, each batch of a fixed plan summed up once and then left alone.",
        numpy_closed_form="Backend numpy, steps of plain sgd taken many at once by powers of the map of an epoch.",
        tensorflow_xla="Backend tensorflow, many steps in one compiled loop.",
        least_squares="The exact solver.",
    ),
]


class Descent(RequestPart):
    """Gradient descent, with every step on record."""

    kind: Literal["descent"] = "descent"
    backend: Annotated[Backend, Field(description="What computes the steps.")] = "numpy"
    dtype: Annotated[Precision, Field(description="What data and parameters are held in.")] = "float64"
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
    stop: Annotated[Stop, Field(default_factory=Stop, description="Never before the last step if left out.")]
    penalty: PenaltyOption = None


Solver = TypeAliasType("Solver", Annotated[Exact | Descent, Field(discriminator="kind"), kind_or("descent")])
