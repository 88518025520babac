"""From a problem and a solver to a solution, with whatever kernels and engines there are.

`fit` has those that Numba compiles and all engines; the process that serves HTTP has neither Numba nor TensorFlow, so
nothing here may import them.
"""

from collections.abc import Sequence

import numpy as np

from service.fitting.descent.run import EngineFor, run
from service.fitting.descent.setting import Setting
from service.fitting.descent.standing import Standing
from service.fitting.exact import references, report, solve_exactly
from service.fitting.inference.options import Inference
from service.fitting.others.answer import OtherName
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.reference.kernels import Kernels
from service.fitting.solution import Solution
from service.fitting.solver import Exact, Solver
from service.fitting.task import Observer


# What leaves float64 is data here: it comes out as inf or NaN, which the edge says as null.
@np.errstate(all="ignore")
def solve(
    problem: Problem,
    solver: Solver,
    recording: Recording,
    observer: Observer,
    inference: Inference,
    others: Sequence[OtherName],
    ended: Standing | None,
    kernels: Kernels,
    engine_for: EngineFor,
) -> Solution:
    """See `fit`; the reference is found by `kernels`, and steps are taken by what `engine_for` gives."""
    if isinstance(solver, Exact):
        return Solution(solve_exactly(problem, solver, inference, others, kernels), None)
    found = references(problem, solver.penalty, kernels)
    came = run(Setting.of(problem, solver, found, ended, kernels), recording, observer, engine_for)
    return Solution(report(problem, found, came.finding, inference, others, kernels), came.standing)
