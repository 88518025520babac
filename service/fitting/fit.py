"""One verb: ``fit(problem, solver, recording, observer) -> Solution``."""

from collections.abc import Sequence

import numpy as np

from service.fitting.descent.backends import engine_for
from service.fitting.descent.run import run
from service.fitting.descent.standing import Standing
from service.fitting.exact import USUAL, references, report, solve_exactly
from service.fitting.inference.options import Inference
from service.fitting.others.answer import OtherName
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.reference.compiled import COMPILED
from service.fitting.solution import Solution
from service.fitting.solver import Exact, Solver
from service.fitting.task import Observer


# What leaves float64 is data here: it comes out as inf or NaN, which the edge says as null.
@np.errstate(all="ignore")
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
    if isinstance(solver, Exact):
        return Solution(solve_exactly(problem, solver, inference, others, COMPILED), None)
    found = references(problem, solver.penalty, COMPILED)
    came = run(problem, solver, recording, observer, found, COMPILED, engine_for, ended)
    return Solution(report(problem, found, came.finding, inference, others, COMPILED), came.standing)
