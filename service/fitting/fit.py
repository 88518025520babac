"""One verb: ``fit(problem, solver, recording, observer) -> Solution``."""

from service.fitting.descent.backends import engine_for
from service.fitting.descent.standing import Standing
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.problem import Problem
from service.fitting.questions import Questions
from service.fitting.recording import Recording
from service.fitting.reference.compiled import COMPILED
from service.fitting.solution import Solution
from service.fitting.solve import Tools, solve
from service.fitting.solver import Solver
from service.fitting.task import Observer

#: All there is.
TOOLS = Tools(COMPILED, engine_for, simulate)
NOTHING_MORE = Questions()


def fit(
    problem: Problem,
    solver: Solver,
    recording: Recording,
    observer: Observer,
    questions: Questions = NOTHING_MORE,
    ended: Standing | None = None,
) -> Solution:
    """Solve the problem, hang the exact answer beside it, and say why they differ.

    Parameters
    ----------
    observer
        Is told of a descent's progress, and is given what is written down.
    ended
        Where the fit ended that the solver's start names, if it names one.
    """
    return solve(problem, solver, recording, observer, questions, ended, TOOLS)
