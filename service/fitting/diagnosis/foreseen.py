"""What is foreseen of a descent: arrays, in descent's units but where said."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.diagnosis.answer import Method


@dataclass(frozen=True)
class Probe:
    """How a descent goes on from its end for some more steps: whether it still gets anywhere. In the user's units.

    Attributes
    ----------
    steps
        How many there are, in two halves of as many epochs.
    step_length
        The mean distance from one step's parameters to the next one's.
    net_progress
        The distance between the means of the two halves.
    gap_before, gap_after
        To the reference, at the end and after these steps.
    """

    steps: int
    step_length: float
    net_progress: float
    gap_before: float
    gap_after: float


@dataclass(frozen=True)
class LearningRates:
    """Below which constant rate gaps shrink, and with which the slowest shrinks quickest; None where nobody can say."""

    largest_stable: float | None = None
    best: float | None = None


@dataclass(frozen=True, eq=False)
class Arrivals:
    """From which step on gaps stay small.

    Attributes
    ----------
    whole, by_direction
        (9,) and (k, 9): the gap over all parameters, and along each direction, stays at or below each of `FRACTIONS` of
        what it was at the start from that step on; NaN where never, or nobody can say.
    """

    whole: FloatArray
    by_direction: FloatArray


@dataclass(frozen=True, eq=False)
class Outlook:
    """Arrays in descent's units, but where said; k directions of the spectrum, as `Spectrum` orders them.

    Attributes
    ----------
    is_exact
        Whether `end` is right up to rounding.
    is_stable
        Whether gaps shrink in all directions that are not flat; None where nobody can say.
    rates
        (k,) what a gap along each direction is multiplied by in a step, its size: 1 where the loss is flat; NaN where
        it is no constant.
    steps
        After which `end` is: those of the plan, or as many as could be simulated, or as many as are finite.
    end, limit
        (m, q) the expected parameters; `limit` is None where there is none, or nobody can say.
    end_sd, limit_sd
        (m, q) standard deviations in the user's units; 0 where nothing hangs on chance.
    find_arrivals, find_learning_rates
        Give what takes longer to find than the rest, and is not always asked for.
    steps_until
        From which step on the expected gap in the user's units stays at or below a number; None likewise. Chance and
        rounding apart.
    beyond
        How it goes on from `end`, where its steps are taken one by one; None else, and where that was too long.
    """

    method: Method
    is_exact: bool
    is_stable: bool | None
    rates: FloatArray
    steps: int
    end: FloatArray
    end_sd: FloatArray
    limit: FloatArray | None
    limit_sd: FloatArray
    find_arrivals: Callable[[], Arrivals]
    steps_until: Callable[[float], int | None]
    find_learning_rates: Callable[[], LearningRates] = LearningRates
    beyond: Probe | None = None

    @property
    def steps_to(self) -> FloatArray:
        """(9,) See `Arrivals.whole`."""
        return self._arrivals.whole

    @property
    def steps_to_by_direction(self) -> FloatArray:
        """(k, 9) See `Arrivals.by_direction`."""
        return self._arrivals.by_direction

    @property
    def largest_stable_learning_rate(self) -> float | None:
        """See `LearningRates`."""
        return self._learning_rates.largest_stable

    @property
    def best_learning_rate(self) -> float | None:
        """See `LearningRates`."""
        return self._learning_rates.best

    @cached_property
    def _arrivals(self) -> Arrivals:
        with np.errstate(all="ignore"):
            return self.find_arrivals()

    @cached_property
    def _learning_rates(self) -> LearningRates:
        with np.errstate(all="ignore"):
            return self.find_learning_rates()
