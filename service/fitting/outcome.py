"""How a fit ended. Data, not an exception: a fit that did not converge still has its coefficients."""

from dataclasses import dataclass
from typing import Literal

OutcomeKind = Literal["exact", "converged", "step_limit", "time_limit", "diverged", "cancelled"]


@dataclass(frozen=True)
class Outcome:
    """The kind of ending, one or two plain sentences for the reader, and how far it got.

    `iterations` are the updates of the optimizer, those of the fits it goes on from included.
    """

    kind: OutcomeKind
    message: str
    steps: int
    epochs: int
    iterations: int = 0
