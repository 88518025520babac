"""The optimizers a request can name, with Keras's names, defaults and options.

The options live here; what an optimizer does with a gradient is its update rule, in `update_rules`.
"""

from dataclasses import dataclass, field
from typing import Literal

from service.fitting.descent.schedules import LearningRate


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What every optimizer takes (Keras `Optimizer`).

    Attributes
    ----------
    weight_decay
        Before each update every parameter is lessened by itself times this and the learning rate; None is not at all.
    clipnorm, clipvalue, global_clipnorm
        Most that the gradient's norm may be, for the coefficients and for the intercept each by themselves; that any
        of its numbers may be; that its norm over all parameters may be. At most one of them is not None.
    use_ema, ema_momentum, ema_overwrite_frequency
        Whether a running mean of the parameters is kept, average <- momentum average + (1 - momentum) w after each
        update, which are the answer in the end; and after how many updates it takes the parameters' place on the way
        (None: never).
    """

    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None


@dataclass(frozen=True)
class Sgd(Usual):
    """Gradient descent, with momentum and Nesterov's variant (Keras `SGD`)."""

    learning_rate: LearningRate = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    kind: Literal["sgd"] = "sgd"


@dataclass(frozen=True)
class Rmsprop(Usual):
    """Gradient divided by a running root mean square of itself (Keras `RMSprop`)."""

    learning_rate: LearningRate = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    kind: Literal["rmsprop"] = "rmsprop"


@dataclass(frozen=True)
class Adam(Usual):
    """Running mean of the gradient over its running root mean square (Kingma and Ba 2014; Keras `Adam`)."""

    learning_rate: LearningRate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    kind: Literal["adam"] = "adam"


@dataclass(frozen=True)
class Adamw(Usual):
    """Adam with weight decay (Loshchilov and Hutter 2019; Keras `AdamW`)."""

    learning_rate: LearningRate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    weight_decay: float | None = field(default=0.004, kw_only=True)
    kind: Literal["adamw"] = "adamw"


@dataclass(frozen=True)
class Adamax(Usual):
    """Adam by the infinity norm (Kingma and Ba 2014, section 7; Keras `Adamax`)."""

    learning_rate: LearningRate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    kind: Literal["adamax"] = "adamax"


@dataclass(frozen=True)
class Nadam(Usual):
    """Adam with Nesterov's momentum (Dozat 2015; Keras `Nadam`)."""

    learning_rate: LearningRate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    kind: Literal["nadam"] = "nadam"


@dataclass(frozen=True)
class Adagrad(Usual):
    """Gradient over the root of the sum of all its squares (Duchi et al. 2011; Keras `Adagrad`)."""

    learning_rate: LearningRate = 0.001
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    kind: Literal["adagrad"] = "adagrad"


@dataclass(frozen=True)
class Adadelta(Usual):
    """Gradient times a running size of the updates over one of itself (Zeiler 2012; Keras `Adadelta`)."""

    learning_rate: LearningRate = 0.001
    rho: float = 0.95
    epsilon: float = 1e-7
    kind: Literal["adadelta"] = "adadelta"


@dataclass(frozen=True)
class Lion(Usual):
    """Steps of one size, by the sign of a running mean of the gradient (Chen et al. 2023; Keras `Lion`)."""

    learning_rate: LearningRate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.99
    kind: Literal["lion"] = "lion"


@dataclass(frozen=True)
class Ftrl(Usual):
    """Follow the regularised leader (McMahan et al. 2013, algorithm 1; Keras `Ftrl`)."""

    learning_rate: LearningRate = 0.001
    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l2_shrinkage_regularization_strength: float = 0.0
    beta: float = 0.0
    kind: Literal["ftrl"] = "ftrl"


Optimizer = Sgd | Rmsprop | Adam | Adamw | Adamax | Nadam | Adagrad | Adadelta | Lion | Ftrl
