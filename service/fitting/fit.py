"""One verb: ``fit(problem, solver, recording, observer) -> Solution``."""

from collections.abc import Sequence

from service.fitting.descent.backends import engine_for
from service.fitting.descent.standing import Standing
from service.fitting.exact import USUAL
from service.fitting.inference.options import Inference
from service.fitting.others.answer import OtherName
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.reference.compiled import COMPILED
from service.fitting.solution import Solution
from service.fitting.solve import solve
from service.fitting.solver import Solver
from service.fitting.task import Observer


def fit(
    problem: Problem,
    solver: Solver,
    recording: Recording,
    observer: Observer,
    inference: Inference = USUAL,
    others: Sequence[OtherName] = (),
    ended: Standing | None = None,
) -> Solution:
    """Solve the problem and hang the exact answer beside it.

    Parameters
    ----------
    observer
        Is told of a descent's progress, and is given what is written down.
    ended
        Where the fit ended that the solver's start names, if it names one.
    """
    return solve(problem, solver, recording, observer, inference, others, ended, COMPILED, engine_for)
