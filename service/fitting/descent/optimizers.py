"""The optimizers a request can name, with Keras's names, defaults and bounds.

The options live here; what an optimizer does with a gradient is its update rule, in `update_rules`.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sgd:
    """Gradient descent, with momentum and Nesterov's variant (Keras `SGD`)."""

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    kind: Literal["sgd"] = "sgd"


@dataclass(frozen=True)
class Rmsprop:
    """Gradient divided by a running root mean square of itself (Keras `RMSprop`)."""

    learning_rate: float = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    kind: Literal["rmsprop"] = "rmsprop"


Optimizer = Sgd | Rmsprop
