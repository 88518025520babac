"""Whether a task can be run on its data, looked at before anything is queued.

An impossible request is refused here; it never becomes a failed job.
"""

import numpy as np

from service.fitting.data import Dataset
from service.fitting.descent.plan import plan_batches
from service.fitting.descent.start import Values, starting_parameters
from service.fitting.errors import InvalidProblem
from service.fitting.model import Model
from service.fitting.problem import Problem
from service.fitting.recording import Recording, recorded_steps
from service.fitting.solver import Descent
from service.fitting.task import FitTask

# Thinning multiplies row numbers by step numbers: this keeps the product inside int64.
MOST_STEPS = 10**12
MOST_RECORDED_NUMBERS = 2**25


@np.errstate(all="ignore")
def check(task: FitTask, dataset: Dataset) -> None:
    """Raise for what the types alone cannot rule out.

    Raises
    ------
    InvalidProblem
        A start of the wrong shape, more steps than can be counted, a recording too large to keep, a scaling that
        does not go with the model, numbers beyond the precision that is asked for.
    """
    problem = task.problem(dataset)
    if isinstance(task.solver, Descent):
        _check_descent(task.solver, task.model, task.recording, dataset.rows)
        _check_range(problem, task.solver)


def _check_range(problem: Problem, descent: Descent) -> None:
    largest = float(np.finfo(descent.dtype).max)
    arrays = (problem.scaled_x, problem.scaled_y, starting_parameters(problem, descent.start, descent.seed))
    if not all((np.abs(array) <= largest).all() for array in arrays):
        raise InvalidProblem(
            ("solver", "dtype"),
            f"In the units descent would run in, data or start hold numbers beyond {descent.dtype}.",
            f'numbers up to {largest:.4g}; "float64" and a scaling may bring them into range',
        )


def _check_descent(descent: Descent, model: Model, recording: Recording, rows: int) -> None:
    if isinstance(descent.start, Values):
        _check_start(descent.start, model)
    plan = plan_batches(descent, rows)
    if plan.total_steps > MOST_STEPS:
        raise InvalidProblem(
            ("solver", "epochs" if descent.max_steps is None else "max_steps"),
            f"{plan.total_steps} steps cannot be counted.",
            f"at most {MOST_STEPS} steps in all",
        )
    kept = len(recorded_steps(recording, plan.total_steps, plan.steps_per_epoch))
    width = len(model.terms) * len(model.targets) if recording.coefficients else 1
    if kept * width > MOST_RECORDED_NUMBERS:
        raise InvalidProblem(
            ("record", "limit"),
            f"{kept} rows of {width} coefficients are too many to keep.",
            f'at most {MOST_RECORDED_NUMBERS // width} rows, or "coefficients": false',
        )


def _check_start(start: Values, model: Model) -> None:
    p, q = len(model.features), len(model.targets)
    shape = (len(start.coefficients), {len(row) for row in start.coefficients})
    if shape not in ((p, {q}), (0, set())) or shape[0] != p:
        raise InvalidProblem(
            ("solver", "start", "coefficients"),
            "The start's coefficients do not fit the model.",
            f"{p} rows (one a feature) of {q} (one a target)",
        )
    given = 0 if start.intercept is None else len(start.intercept)
    wanted = q if model.intercept else 0
    if given != wanted:
        allowed = f"{q} numbers, one a target" if model.intercept else "none: the model has no intercept"
        raise InvalidProblem(
            ("solver", "start", "intercept"), f"The start has {given} intercepts for {wanted}.", allowed
        )
