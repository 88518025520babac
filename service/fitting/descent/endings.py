"""How a fit ended, in one or two plain sentences."""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import References
from service.fitting.outcome import OutcomeKind


@dataclass(frozen=True)
class Ending:
    """How a fit ended, and what is said of that before anything else."""

    kind: OutcomeKind
    words: str


EXACT = Ending("exact", "Solved in closed form; the estimate is the reference.")
STEP_LIMIT = Ending("step_limit", "All requested steps were taken.")
DIVERGED = Ending(
    "diverged",
    "The next step's batch loss or parameters were not finite: the learning rate is too large, or the numbers are "
    "too large for the precision. The trajectory ends at the last finite step.",
)
CANCELLED = Ending("cancelled", "It was cancelled before all requested steps were taken; the trajectory ends there.")


def time_limit(seconds: float, most: float) -> Ending:
    """The end after some seconds of descent, of which there should be no more than `most`."""
    return Ending(
        "time_limit",
        f"The time limit was reached before all requested steps were taken: {seconds:.3g} s of descent, where "
        f"{most:g} s are allowed.",
    )


def message(ending: Ending, found: References, *numbers: FloatArray | float) -> str:
    """The ending in words, with what is missing to a unique answer, or to `numbers` of the answer that can be said."""
    text = ending.words
    data = found.unpenalised
    if found.is_penalised:
        text += " The reference is the penalised optimum, with least squares beside it."
    if not data.is_full_rank:
        text += f" The data determine {data.rank} of {len(data.parameters)} directions: {_choice(found)}."
    references = (found.original.parameters, data.parameters) if found.is_penalised else (data.parameters,)
    if not all(np.isfinite(part).all() for part in (*numbers, *references)):
        text += " Numbers too large for float64 are null."
    return text


def _choice(found: References) -> str:
    if not found.original.is_full_rank:
        return "the reference is the solution of least norm among many"
    return "the penalty decides about the rest, and the least squares beside it are of least norm among many"
