"""Optimizers and learning-rate schedules, with Keras's names and defaults, and refusing what Keras refuses."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from service.api.schemas.bodies import (
    Count,
    Decay,
    Natural,
    NonNegative,
    Positive,
    RequestPart,
    Share,
    kind_or,
    tag,
)

_RATE, _SCHEDULE = tag("rate"), tag("schedule")

MOST_PIECES = 1_000


class ExponentialDecay(RequestPart):
    """initial_learning_rate * decay_rate^(update / decay_steps) (Keras `ExponentialDecay`)."""

    kind: Literal["exponential_decay"] = "exponential_decay"
    initial_learning_rate: Annotated[Positive, Field(description="The first update's.", examples=[0.1])]
    decay_steps: Annotated[
        Count, Field(description="Updates in which the rate is multiplied by decay_rate once.", examples=[1000])
    ]
    decay_rate: Annotated[Positive, Field(description="Below 1 the rate falls, above 1 it grows.", examples=[0.96])]
    staircase: Annotated[
        bool, Field(description="Whether update / decay_steps is rounded down, so that the rate falls in steps.")
    ] = False


class CosineDecay(RequestPart):
    """From its height to alpha times it along half a cosine, after a straight way up if asked (Keras `CosineDecay`)."""

    kind: Literal["cosine_decay"] = "cosine_decay"
    initial_learning_rate: Annotated[
        NonNegative, Field(description="The first update's; the height too, without a warmup_target.", examples=[0.1])
    ]
    decay_steps: Annotated[Count, Field(description="Updates from the height down; then the rate stays.")]
    alpha: Annotated[NonNegative, Field(description="What the rate ends at, as a fraction of its height.")] = 0.0
    warmup_target: Annotated[
        Positive | None, Field(description="The height to go up to first; null: no way up.", examples=[0.5])
    ] = None
    warmup_steps: Annotated[
        Natural, Field(description="Updates on the way up: at least 1 with a warmup_target, 0 without.")
    ] = 0


class PiecewiseConstantDecay(RequestPart):
    """values[0] to boundaries[0] updates, then values[1] to boundaries[1], .. (Keras `PiecewiseConstantDecay`)."""

    kind: Literal["piecewise_constant_decay"] = "piecewise_constant_decay"
    boundaries: Annotated[
        list[Natural],
        Field(
            min_length=1,
            max_length=MOST_PIECES,
            fail_fast=True,
            description="The last update of each piece but the last one, counted from 0; ascending.",
            examples=[[100, 200]],
        ),
    ]
    values: Annotated[
        list[Positive],
        Field(
            min_length=2,
            max_length=MOST_PIECES + 1,
            fail_fast=True,
            description="The learning rate of each piece: one more than there are boundaries.",
            examples=[[0.1, 0.05, 0.01]],
        ),
    ]


Schedule = TypeAliasType(
    "Schedule",
    Annotated[ExponentialDecay | CosineDecay | PiecewiseConstantDecay, Field(discriminator="kind"), kind_or()],
)


def _form_of_rate(value: Any) -> str | None:
    if isinstance(value, dict | RequestPart):
        return _SCHEDULE
    return _RATE if isinstance(value, int | float) and not isinstance(value, bool) else None


LearningRate = TypeAliasType(
    "LearningRate",
    Annotated[
        Annotated[Positive, Tag(_RATE)] | Annotated[Schedule, Tag(_SCHEDULE)],
        Discriminator(
            _form_of_rate,
            custom_error_type="learning_rate_form",
            custom_error_message="This is neither a number nor a schedule.",
        ),
    ],
)

LearningRateOption = Annotated[
    LearningRate, Field(description="What an update is multiplied by: one number for all updates, or a schedule.")
]
#: Options that several optimizers share, with one meaning.
Epsilon = Annotated[Positive, Field(description="Added to a divisor, so that it is not 0.")]
Beta1 = Annotated[Decay, Field(description="What the running mean of the gradient keeps of itself at an update.")]
Beta2 = Annotated[Decay, Field(description="What the running mean of its square keeps of itself at an update.")]

Amsgrad = Annotated[bool, Field(description="Whether the largest running mean square so far is divided by.")]
InitialAccumulatorValue = Annotated[NonNegative, Field(description="What the sum of squares starts at.")]


class OptimizerOptions(RequestPart):
    """What every optimizer takes beside its own options (Keras `Optimizer`)."""

    weight_decay: Annotated[
        NonNegative | None,
        Field(description="Before each update w <- w - weight_decay * learning_rate * w; null: not at all."),
    ] = None
    clipnorm: Annotated[
        Positive | None,
        Field(description="Most the gradient's norm may be, for coefficients and intercept each by themselves."),
    ] = None
    clipvalue: Annotated[Positive | None, Field(description="Most any number of the gradient may be.")] = None
    global_clipnorm: Annotated[
        Positive | None, Field(description="Most the whole gradient's norm may be. At most one of the three is set.")
    ] = None
    use_ema: Annotated[
        bool,
        Field(
            description="Whether the answer is a running mean m of the parameters w: m <- ema_momentum m + (1 - ..) w."
        ),
    ] = False
    ema_momentum: Annotated[Share, Field(description="What the running mean keeps of itself at an update.")] = 0.99
    ema_overwrite_frequency: Annotated[
        Count | None,
        Field(description="Updates after which the running mean takes the parameters' place; null: only at the end."),
    ] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        # An optimizer's own options come first, as Keras has them, and these after.
        fields = cls.__pydantic_fields__
        cls.__pydantic_fields__ = {name: fields[name] for name in (*cls.__annotations__, *fields)}
        cls.model_rebuild(force=True)


class Sgd(OptimizerOptions):
    """w <- w - learning_rate * g, plain, with momentum, or with Nesterov's variant of it (Keras `SGD`)."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: LearningRateOption = 0.01
    momentum: Annotated[Share, Field(description="v <- momentum v - learning_rate g; w <- w + v.")] = 0.0
    nesterov: Annotated[bool, Field(description="w <- w + momentum v - learning_rate g instead.")] = False


class Rmsprop(OptimizerOptions):
    """The gradient over a running root mean square of itself (Keras `RMSprop`)."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: LearningRateOption = 0.001
    rho: Annotated[Decay, Field(description="What the running mean of g^2 keeps of itself at an update.")] = 0.9
    momentum: Annotated[Decay, Field(description="What an update keeps of the one before.")] = 0.0
    epsilon: Epsilon = 1e-7
    centered: Annotated[
        bool, Field(description="Whether the running mean of g, squared, is taken off that of g^2: a variance.")
    ] = False


class Adam(OptimizerOptions):
    """A running mean of the gradient over its running root mean square (Kingma and Ba 2014; Keras `Adam`)."""

    kind: Literal["adam"] = "adam"
    learning_rate: LearningRateOption = 0.001
    beta_1: Beta1 = 0.9
    beta_2: Beta2 = 0.999
    epsilon: Epsilon = 1e-7
    amsgrad: Amsgrad = False


class Adamw(OptimizerOptions):
    """Adam with weight decay (Loshchilov and Hutter 2019; Keras `AdamW`)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: LearningRateOption = 0.001
    weight_decay: Annotated[
        NonNegative, Field(description="Before each update w <- w - weight_decay * learning_rate * w.")
    ] = 0.004
    beta_1: Beta1 = 0.9
    beta_2: Beta2 = 0.999
    epsilon: Epsilon = 1e-7
    amsgrad: Amsgrad = False


class Adamax(OptimizerOptions):
    """Adam by the infinity norm (Kingma and Ba 2014, section 7; Keras `Adamax`)."""

    kind: Literal["adamax"] = "adamax"
    learning_rate: LearningRateOption = 0.001
    beta_1: Beta1 = 0.9
    beta_2: Annotated[Decay, Field(description="u <- max(beta_2 u, |g|), which the mean is divided by.")] = 0.999
    epsilon: Epsilon = 1e-7


class Nadam(OptimizerOptions):
    """Adam with Nesterov's momentum (Dozat 2015; Keras `Nadam`)."""

    kind: Literal["nadam"] = "nadam"
    learning_rate: LearningRateOption = 0.001
    beta_1: Beta1 = 0.9
    beta_2: Beta2 = 0.999
    epsilon: Epsilon = 1e-7


class Adagrad(OptimizerOptions):
    """The gradient over the root of the sum of all its squares (Duchi et al. 2011; Keras `Adagrad`)."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: LearningRateOption = 0.001
    initial_accumulator_value: InitialAccumulatorValue = 0.1
    epsilon: Epsilon = 1e-7


class Adadelta(OptimizerOptions):
    """The gradient times a running size of the updates over one of itself (Zeiler 2012; Keras `Adadelta`)."""

    kind: Literal["adadelta"] = "adadelta"
    learning_rate: LearningRateOption = 0.001
    rho: Annotated[Decay, Field(description="What both running mean squares keep of themselves at an update.")] = 0.95
    epsilon: Epsilon = 1e-7


class Lion(OptimizerOptions):
    """Updates of one size, by the sign of a running mean m of the gradient (Chen et al. 2023; Keras `Lion`)."""

    kind: Literal["lion"] = "lion"
    learning_rate: LearningRateOption = 0.001
    beta_1: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            allow_inf_nan=False,
            description="w <- w - learning_rate * sign(beta_1 m + (1 - beta_1) g).",
        ),
    ] = 0.9
    beta_2: Annotated[Share, Field(description="m <- beta_2 m + (1 - beta_2) g.")] = 0.99


class Ftrl(OptimizerOptions):
    """Follow the regularised leader (McMahan et al. 2013, algorithm 1; Keras `Ftrl`)."""

    kind: Literal["ftrl"] = "ftrl"
    learning_rate: LearningRateOption = 0.001
    learning_rate_power: Annotated[
        float,
        Field(
            le=0,
            allow_inf_nan=False,
            description="The sum of squares to this power is what the learning rate falls by; 0: it does not fall.",
        ),
    ] = -0.5
    initial_accumulator_value: InitialAccumulatorValue = 0.1
    l1_regularization_strength: Annotated[
        NonNegative, Field(description="Coefficients that gain less than this from not being 0 are 0.")
    ] = 0.0
    l2_regularization_strength: Annotated[
        NonNegative, Field(description="Holds the parameters down: 2 * this is added to the updates' divisor.")
    ] = 0.0
    l2_shrinkage_regularization_strength: Annotated[
        NonNegative, Field(description="g <- g + 2 * this * w, which the sum of squares does not see.")
    ] = 0.0
    beta: Annotated[NonNegative, Field(description="l2_regularization_strength + beta / (2 learning_rate) in all.")] = (
        0.0
    )


Optimizer = TypeAliasType(
    "Optimizer",
    Annotated[
        Sgd | Rmsprop | Adam | Adamw | Adamax | Nadam | Adagrad | Adadelta | Lion | Ftrl,
        Field(discriminator="kind"),
        kind_or("sgd"),
    ],
)
