"""Whether a task can be run on its data, looked at before anything is queued.

An impossible request is refused here; it never becomes a failed job.
"""

import numpy as np

from service.fitting.data import Dataset
from service.fitting.descent.plan import plan_batches
from service.fitting.descent.start import Values, starting_parameters
from service.fitting.errors import InvalidProblem
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.penalty import Penalty
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
        Weights below 0 or all 0, a penalty that is no number from 0 up, powers that leave float64, standard errors
        without their clusters, a start of the wrong shape, more steps than can be counted, a recording too large to
        keep, a scaling that does not go with the model, numbers beyond the precision that is asked for.
    """
    problem, solver = task.problem(dataset), task.solver
    _check_weights(problem)
    _check_powers(problem)
    _check_penalty(problem, solver.penalty)
    _check_inference(task.inference)
    if isinstance(solver, Descent):
        _check_descent(solver, task.model, task.recording, dataset.rows)
        _check_range(problem, solver)


def _check_weights(problem: Problem) -> None:
    weights = problem.weights
    if weights is None:
        return
    row = int(weights.argmin())
    if weights[row] < 0.0:
        raise InvalidProblem(
            ("model", "weights"),
            f"Row {row} of the weights {problem.model.weights!r} is {weights[row]:.6g}.",
            "weights of 0 and above",
        )
    if not weights.any():
        raise InvalidProblem(
            ("model", "weights"), f"The weights {problem.model.weights!r} are all 0.", "a weight above 0"
        )


def _check_powers(problem: Problem) -> None:
    degree = problem.model.degree
    if degree == 1:
        return
    smallest, largest = np.finfo(np.float64).tiny, np.finfo(np.float64).max
    for name, column in zip(problem.model.features, problem.features.T, strict=True):
        size = np.abs(column).max()
        if size > 0.0 and not smallest <= size**degree <= largest:
            raise InvalidProblem(
                ("model", "degree"),
                f"{name}^{degree} leaves float64: {name} has a size of {size:.3g}.",
                "a lower degree, or a column in other units",
            )


def _check_penalty(problem: Problem, penalty: Penalty | None) -> None:
    if penalty is None:
        return
    place = ("solver", "penalty", "strength")
    if not 0.0 <= penalty.strength < np.inf:
        raise InvalidProblem(place, f"{penalty.strength} is no strength.", "a finite number, 0 or above")
    penalties = problem.design(penalty).penalties
    if penalties is None:
        return
    for term, number in zip(problem.model.powers, penalties[int(problem.model.intercept) :], strict=True):
        if not 0.0 < number < np.inf:
            raise InvalidProblem(
                place,
                f"In the units of the data the penalty on {term!r} is {number:g} in float64.",
                "a strength, and columns, nearer to 1",
            )


def _check_inference(inference: Inference) -> None:
    if (inference.standard_errors == "clustered") != (inference.clusters is not None):
        raise InvalidProblem(
            ("inference", "clusters"),
            "Clustered standard errors and a column of clusters come together or not at all.",
            "the name of a column for 'clustered', null for the others",
        )


def _check_range(problem: Problem, descent: Descent) -> None:
    largest = float(np.finfo(descent.dtype).max)
    arrays = (
        problem.weighted(problem.scaled_x),
        problem.weighted(problem.scaled_y),
        problem.weighted(np.ones((problem.dataset.rows, 1))),
        starting_parameters(problem, descent.start, descent.seed),
        np.array(0.0 if descent.penalty is None else descent.penalty.strength),
    )
    if not all((np.abs(array) <= largest).all() for array in arrays):
        raise InvalidProblem(
            ("solver", "dtype"),
            f"In the units descent would run in, data, start or penalty hold numbers beyond {descent.dtype}.",
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
    p, q = len(model.powers), len(model.targets)
    shape = (len(start.coefficients), {len(row) for row in start.coefficients})
    if shape not in ((p, {q}), (0, set())) or shape[0] != p:
        raise InvalidProblem(
            ("solver", "start", "coefficients"),
            "The start's coefficients do not fit the model.",
            f"{p} rows (one for each power of each feature) of {q} (one a target)",
        )
    given = 0 if start.intercept is None else len(start.intercept)
    wanted = q if model.intercept else 0
    if given != wanted:
        allowed = f"{q} numbers, one a target" if model.intercept else "none: the model has no intercept"
        raise InvalidProblem(
            ("solver", "start", "intercept"), f"The start has {given} intercepts for {wanted}.", allowed
        )
