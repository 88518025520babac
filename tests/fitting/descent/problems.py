"""Problems and a shorthand that the descent tests share."""

from dataclasses import dataclass

import numpy as np

from service.fitting.data import Dataset
from service.fitting.descent.standing import Standing
from service.fitting.fit import fit
from service.fitting.loss import Loss
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solution import Report
from service.fitting.solver import Solver
from service.fitting.task import Collector
from service.fitting.trajectory import Trajectory


def random_problem(
    seed: int,
    rows: int = 23,
    features: int = 3,
    targets: int = 1,
    *,
    intercept: bool = True,
    scaling: Scaling | None = None,
    loss: Loss = "mse",
    degree: int = 1,
    weighted: bool = False,
) -> Problem:
    """A well-conditioned problem with noise; the seed stands in the test's name. One weight, if there are any, is 0."""
    stream = np.random.default_rng(seed)
    x = stream.normal(size=(rows, features))
    y = x @ stream.normal(size=(features, targets)) + 0.5 + 0.3 * stream.normal(size=(rows, targets))
    dataset = Dataset.from_arrays(x, y)
    if weighted:
        weights = np.append(0.0, stream.uniform(0.2, 3.0, rows - 1))
        dataset = Dataset((*dataset.names, "w"), np.column_stack([dataset.values, weights]))
    model = resolve_model(dataset.names, None, None, intercept, degree, "w" if weighted else None)
    return Problem(dataset, model, scaling or Scaling(), loss)


@dataclass(frozen=True, eq=False)
class Solved:
    """A finished fit with all it wrote down, and where it stands; None for the exact solver."""

    report: Report
    trajectory: Trajectory | None
    standing: Standing | None


def solve(
    problem: Problem, solver: Solver, recording: Recording | None = None, ended: Standing | None = None
) -> Solved:
    """`fit` with nobody who stops it."""
    collector = Collector()
    solution = fit(problem, solver, recording or Recording(), collector, ended=ended)
    return Solved(solution.report, collector.trajectory, solution.standing)
