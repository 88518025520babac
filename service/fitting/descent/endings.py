"""How a fit ended, in one or two plain sentences."""

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
        "too large for the precision. The trajectory ends at the last finite step; a loss too large for float64 there "
        "is null."
    ),
}


def message(kind: OutcomeKind, problem: Problem, reference: LeastSquares) -> str:
    """The ending in words, with what is missing to a unique answer where the rank is short."""
    text = _MESSAGES[kind]
    if reference.is_full_rank:
        return text
    return (
        f"{text} The data determine {reference.rank} of {len(problem.model.terms)} directions: "
        "the reference is the solution of least norm among many."
    )
