"""The learning rate at each update: a number, or one of Keras's schedules.

An update is known by the number of those before it, from 0 (Keras's `iterations`), which goes on counting where a
descent goes on from another.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from service.fitting.arrays import IntArray, WorkingArray


@dataclass(frozen=True)
class ExponentialDecay:
    """initial_learning_rate * decay_rate^(i / decay_steps), the exponent rounded down if `staircase`.

    Keras `ExponentialDecay`.
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float
    staircase: bool = False
    kind: Literal["exponential_decay"] = "exponential_decay"


@dataclass(frozen=True)
class CosineDecay:
    """From `initial_learning_rate` to `alpha` times it over `decay_steps`, along half a cosine; then it stays.

    With a `warmup_target` the rate first goes there in a straight line, in `warmup_steps`, and comes down from it.
    Keras `CosineDecay`.
    """

    initial_learning_rate: float
    decay_steps: int
    alpha: float = 0.0
    warmup_target: float | None = None
    warmup_steps: int = 0
    kind: Literal["cosine_decay"] = "cosine_decay"


@dataclass(frozen=True)
class PiecewiseConstantDecay:
    """values[0] up to and with update boundaries[0], then values[1] up to and with boundaries[1], .., then the last.

    Keras `PiecewiseConstantDecay`.
    """

    boundaries: tuple[int, ...]
    values: tuple[float, ...]
    kind: Literal["piecewise_constant_decay"] = "piecewise_constant_decay"


Schedule = ExponentialDecay | CosineDecay | PiecewiseConstantDecay
LearningRate = float | Schedule


def rates(rate: LearningRate, iterations: IntArray, dtype: np.dtype[np.floating[Any]]) -> WorkingArray:
    """The learning rate of each update, in the working precision and computed in it, as Keras does."""
    step = iterations.astype(dtype)
    number = dtype.type
    match rate:
        case ExponentialDecay():
            power = step / number(rate.decay_steps)
            power = np.floor(power) if rate.staircase else power
            decayed: WorkingArray = number(rate.initial_learning_rate) * np.power(number(rate.decay_rate), power)
            return decayed
        case CosineDecay():
            return _cosine(rate, step)
        case PiecewiseConstantDecay():
            return np.array(rate.values, dtype)[np.searchsorted(np.array(rate.boundaries), iterations, side="left")]
        case _:
            return np.full(len(iterations), rate, dtype)


def _cosine(decay: CosineDecay, step: WorkingArray) -> WorkingArray:
    number = step.dtype.type
    initial, alpha = number(decay.initial_learning_rate), number(decay.alpha)
    length, warmup = number(decay.decay_steps), number(decay.warmup_steps)
    top = initial if decay.warmup_target is None else number(decay.warmup_target)
    warmup = number(0.0) if decay.warmup_target is None else warmup
    fraction = np.minimum(step - warmup, length) / length
    cosine = number(0.5) * (number(1.0) + np.cos(number(np.pi) * fraction))
    down: WorkingArray = top * ((number(1.0) - alpha) * cosine + alpha)
    if warmup == 0.0:
        return down
    up = (top - initial) * (step / warmup) + initial
    return np.where(step < warmup, up, down)
