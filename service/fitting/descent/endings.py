"""How a fit ended, in one or two plain sentences."""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import References
from service.fitting.outcome import OutcomeKind

_MESSAGES: dict[OutcomeKind, str] = {
    "exact": "Solved in closed form; the estimate is the reference.",
    "converged": "A stop rule was met at the end of an epoch.",
    "step_limit": "All requested steps were taken.",
    "time_limit": "The time limit was reached before all requested steps were taken.",
    "diverged": (
        "The next step's batch loss or parameters were not finite: the learning rate is too large, or the numbers are "
        "too large for the precision. The trajectory ends at the last finite step."
    ),
}


def message(kind: OutcomeKind, found: References, *numbers: FloatArray | float) -> str:
    """The ending in words, with what is missing to a unique answer, or to `numbers` of the answer that can be said."""
    text = _MESSAGES[kind]
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
