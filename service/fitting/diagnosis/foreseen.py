"""What is foreseen of a descent: arrays, in descent's units but where said."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

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


class Outlook(ABC):
    """Arrays in descent's units, but where said; k directions of the spectrum, as `Spectrum` orders them.

    What of it takes long to find, and is not always asked for, is found when it is.
    """

    @property
    @abstractmethod
    def method(self) -> Method:
        """How it is worked out."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """After which `end` is: those of the plan, or as many as could be simulated, or as many as are finite."""

    @property
    @abstractmethod
    def end(self) -> FloatArray:
        """(m, q) the expected parameters."""

    @property
    @abstractmethod
    def end_sd(self) -> FloatArray:
        """(m, q) standard deviations of the end in the user's units; 0 where nothing hangs on chance."""

    @property
    @abstractmethod
    def is_exact(self) -> bool:
        """Whether `end` is right up to rounding."""

    @property
    @abstractmethod
    def is_stable(self) -> bool | None:
        """Whether gaps shrink in all directions that are not flat; None where nobody can say."""

    @property
    @abstractmethod
    def rates(self) -> FloatArray:
        """(k,) what a gap along each direction is multiplied by in a step, its size.

        1 where the loss is flat; NaN where it is no constant.
        """

    @property
    @abstractmethod
    def limit(self) -> FloatArray | None:
        """(m, q) the expected parameters if it goes on for ever; None where there are none, or nobody can say."""

    @property
    @abstractmethod
    def limit_sd(self) -> FloatArray:
        """(m, q) standard deviations of the limit, as `end_sd`."""

    @property
    @abstractmethod
    def steps_to(self) -> FloatArray:
        """(9,) from which step on the gap over all parameters stays at or below each of `FRACTIONS` of the start's.

        NaN where never, or nobody can say.
        """

    @property
    @abstractmethod
    def steps_to_by_direction(self) -> FloatArray:
        """(k, 9) the same of the gap along each direction."""

    @abstractmethod
    def steps_until(self, gap: float) -> int | None:
        """From which step on the expected gap in the user's units stays at or below a number; None likewise.

        Chance and rounding apart.
        """

    @cached_property
    def learning_rates(self) -> LearningRates:
        """Of all settings that differ in their rate alone."""
        return LearningRates()

    @property
    def largest_stable_learning_rate(self) -> float | None:
        """See `LearningRates`."""
        return self.learning_rates.largest_stable

    @property
    def best_learning_rate(self) -> float | None:
        """See `LearningRates`."""
        return self.learning_rates.best

    @cached_property
    def beyond(self) -> Probe | None:
        """How it goes on from `end`, where its steps are taken one by one; None else, and where that was too long."""
        return None
