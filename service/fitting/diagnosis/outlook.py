"""What a descent will do, worked out without running it: `outlook(setting, simulate) -> Outlook`."""

from collections.abc import Callable
from dataclasses import dataclass

from service.fitting.arrays import FloatArray
from service.fitting.diagnosis.answer import Method


@dataclass(frozen=True, eq=False)
class Outlook:
    """Arrays in descent's units, but where said; k directions of the spectrum, as `Spectrum` orders them.

    Attributes
    ----------
    is_exact
        Whether `end` is right up to rounding.
    is_stable
        Whether gaps shrink in all directions that are not flat; None where nobody can say.
    largest_stable_learning_rate, best_learning_rate
        None where nobody can say.
    rates
        (k,) what a gap along each direction is multiplied by in a step, its size: 1 where the loss is flat; NaN where
        it is no constant.
    steps
        After which `end` is: those of the plan, or as many as could be simulated.
    end, limit
        (m, q) the expected parameters; `limit` is None where there is none, or nobody can say.
    end_sd, limit_sd
        (m, q) standard deviations in the user's units; 0 where nothing hangs on chance.
    steps_to
        (9,) and (k, 9): from which step on the gap over all parameters, and along each direction, stays at or below
        each of `FRACTIONS` of what it was at the start; NaN where never, or nobody can say.
    steps_until
        From which step on the expected gap in the user's units stays at or below a number; None likewise. Chance and
        rounding apart.
    """

    method: Method
    is_exact: bool
    is_stable: bool | None
    largest_stable_learning_rate: float | None
    best_learning_rate: float | None
    rates: FloatArray
    steps: int
    end: FloatArray
    end_sd: FloatArray
    limit: FloatArray | None
    limit_sd: FloatArray
    steps_to: FloatArray
    steps_to_by_direction: FloatArray
    steps_until: Callable[[float], int | None]
