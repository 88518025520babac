"""How a fit ended, in one or two plain sentences."""

import numpy as np

from service.fitting.outcome import OutcomeKind
from service.fitting.problem import Problem
from service.fitting.reference.least_squares import LeastSquares

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


def message(kind: OutcomeKind, problem: Problem, reference: LeastSquares, loss: float) -> str:
    """The ending in words, with what is missing to a unique answer, or to numbers that can be said."""
    text = _MESSAGES[kind]
    if not reference.is_full_rank:
        text += (
            f" The data determine {reference.rank} of {len(problem.model.terms)} directions: "
            "the reference is the solution of least norm among many."
        )
    if not np.isfinite(loss):
        text += " Numbers too large for float64, the final loss among them, are null."
    return text
