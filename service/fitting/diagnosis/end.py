"""What a diagnosis begins with: the end of a descent, and what it can have done to look into it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from service.fitting.arrays import FloatArray
from service.fitting.descent.engine import State
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import Gap
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.simulation import Simulate
from service.fitting.outcome import OutcomeKind

#: What can be asked to be explained beside what explains itself.
Explanation = Literal["broadcast"]


@dataclass(frozen=True)
class Printed:
    """What Keras prints in the end, each loss from before its batch's update; in the user's units."""

    epoch_loss: float
    batch_loss: float


@dataclass(frozen=True, eq=False)
class End:
    """The end of a descent, real or expected.

    Attributes
    ----------
    scaled, estimate
        (m, q) in descent's units and in the user's.
    kind
        How it ended; None for one that is only forecast.
    loss
        On all rows, in the user's units.
    printed
        None where nothing was printed: no steps were taken, or it is only forecast.
    state
        After the last step; None for one that is only forecast.
    """

    kind: OutcomeKind | None
    steps: int
    scaled: FloatArray
    estimate: FloatArray
    loss: float
    printed: Printed | None
    outlook: Outlook
    state: State | None = None


@dataclass(frozen=True)
class Means:
    """What a diagnosis can have done that takes steps.

    Attributes
    ----------
    simulate
        See `Simulate`; raises `TooLong`.
    measure
        Really runs a descent from its setting and measures what it came to; raises `TooLong` where it is beyond what
        may be spent on that.
    """

    simulate: Simulate
    measure: Callable[[Setting], Gap]
