"""What each optimizer does with a gradient: one elementwise rule, in plain arithmetic, for every engine.

A rule takes one parameter (a number in the NumPy engine, where Numba compiles it; a tensor in the TensorFlow engine,
where XLA does), its gradient and three slots of memory, and returns the new parameter and slots. Slots start at 0.
`rate` is the learning rate and `options` the rule's own numbers, all in the working precision; `flags` are booleans
known before compilation. The order of operations is that of Keras 3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.fitting.descent.elementary import sqrt
from service.fitting.descent.optimizers import Optimizer, Rmsprop, Sgd

SLOTS = 3
#: Every rule gets this many options and flags, so that one compiled loop takes them all.
OPTIONS = 4
FLAGS = 1

Update = tuple[Any, Any, Any, Any]


def sgd(w: Any, g: Any, velocity: Any, b: Any, c: Any, rate: Any, options: Any, flags: Any) -> Update:
    """v <- momentum v - rate g; w <- w + v, or w + momentum v - rate g after Nesterov. Keras `SGD`."""
    momentum = options[0]
    velocity = velocity * momentum - g * rate
    if flags[0]:
        return w + (velocity * momentum - g * rate), velocity, b, c
    return w + velocity, velocity, b, c


def rmsprop(w: Any, g: Any, square: Any, velocity: Any, mean: Any, rate: Any, options: Any, flags: Any) -> Update:
    """s <- rho s + (1 - rho) g^2; v <- momentum v + rate g / sqrt(s [- mean^2] + epsilon); w <- w - v.

    Keras `RMSprop`.
    """
    rho, rest, momentum, epsilon = options[0], options[1], options[2], options[3]
    square = rho * square + rest * (g * g)
    if flags[0]:
        mean = rho * mean + rest * g
        denominator = square - mean * mean + epsilon
    else:
        denominator = square + epsilon
    velocity = momentum * velocity + (rate * g) / sqrt(denominator)
    return w - velocity, square, velocity, mean


@dataclass(frozen=True)
class Rule:
    """An optimizer made ready for a loop: which rule, and its numbers.

    `code` is the rule's place in `RULES`, by which the compiled loop of the NumPy engine picks it.
    """

    code: int
    rate: float
    options: tuple[float, ...]
    flags: tuple[bool, ...]

    @property
    def update(self) -> Callable[..., Update]:
        return RULES[self.code]


RULES: tuple[Callable[..., Update], ...] = (sgd, rmsprop)


def rule_of(optimizer: Optimizer) -> Rule:
    """The rule and numbers of an optimizer."""
    match optimizer:
        case Sgd():
            return _rule(sgd, optimizer.learning_rate, (optimizer.momentum,), optimizer.nesterov)
        case Rmsprop():
            # 1 - rho is taken in double precision and then rounded, as Keras does.
            numbers = (optimizer.rho, 1.0 - optimizer.rho, optimizer.momentum, optimizer.epsilon)
            return _rule(rmsprop, optimizer.learning_rate, numbers, optimizer.centered)


def _rule(update: Callable[..., Update], rate: float, numbers: tuple[float, ...], flag: bool) -> Rule:
    return Rule(RULES.index(update), rate, numbers + (0.0,) * (OPTIONS - len(numbers)), (flag,))
