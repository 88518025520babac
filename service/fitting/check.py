"""Whether a task can be run on its data, looked at before anything is queued.

An impossible request is refused here; it never becomes a failed job.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass

import numpy as np

from service.fitting.descent.optimizers import Optimizer
from service.fitting.descent.plan import plan_batches
from service.fitting.descent.standing import Standing
from service.fitting.descent.start import Ended, Values, starting_parameters
from service.fitting.errors import InvalidProblem
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.penalty import Penalty
from service.fitting.problem import Problem
from service.fitting.recording import Recording, recorded_steps
from service.fitting.solver import Descent, Precision
from service.fitting.task import FitTask

# Numbers of steps, and what is counted by them, stay far inside int64.
MOST_STEPS = 10**12
MOST_RECORDED_NUMBERS = 2**25


@np.errstate(all="ignore")
def check(task: FitTask, problem: Problem, ended: Standing | None = None) -> None:
    """Raise for what the types alone cannot rule out.

    Parameters
    ----------
    problem
        What is to be fitted: `task.problem` of its data.
    ended
        Where the fit ended that the task starts from.

    Raises
    ------
    InvalidProblem
        Weights below 0 or all 0, a penalty that is no number from 0 up, powers that leave float64, standard errors
        without their clusters, a start of the wrong shape or from a fit of other terms or targets, more steps
        than can be counted, a recording too large to keep, numbers beyond the precision that is asked for, an
        explanation of what cannot be.
    """
    solver = task.solver
    _check_weights(problem)
    _check_powers(problem)
    _check_penalty(problem, solver.penalty)
    _check_inference(task.inference)
    _check_explanations(task)
    if isinstance(solver, Descent):
        _check_start(solver, task.model, ended)
        _check_optimizer(solver.optimizer, solver.dtype)
        _check_length(solver, task.model, task.recording, problem.dataset.rows)
        _check_range(problem, solver, ended)


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


def _check_explanations(task: FitTask) -> None:
    if not task.explain:
        return
    place = ("explain", 0)
    if not isinstance(task.solver, Descent):
        message = "An exact fit takes no steps: shapes cannot have led it astray."
        raise InvalidProblem(place, message, "nothing, or a solver of the kind 'descent'")
    if len(task.model.targets) > 1:
        message = f"With {len(task.model.targets)} targets the shapes cannot be mistaken so: that takes a single one."
        raise InvalidProblem(place, message, "nothing, or a single target")


def _check_optimizer(optimizer: Optimizer, dtype: Precision) -> None:
    # A number that is rounded to 0 or infinity would stand for another optimizer, or none.
    for name, number in _numbers(optimizer):
        rounded = np.dtype(dtype).type(number)
        if not np.isfinite(rounded) or (rounded == 0.0) != (number == 0.0):
            held = np.finfo(dtype)
            allowed = f'0, or {held.smallest_subnormal:.4g} to {held.max:.4g} in size; or "float64"'
            raise InvalidProblem(("solver", "optimizer", *name), f"{number:g} is {rounded:g} in {dtype}.", allowed)


def _numbers(options: object) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """Every number among the options, those of a schedule inside too, with its place."""
    if isinstance(options, float):
        yield (), options
    elif is_dataclass(options):
        for field in fields(options):
            yield from (((field.name, *place), n) for place, n in _numbers(getattr(options, field.name)))
    elif isinstance(options, tuple):
        for k, option in enumerate(options):
            yield from (((k, *place), n) for place, n in _numbers(option))


def _check_range(problem: Problem, descent: Descent, ended: Standing | None) -> None:
    largest = float(np.finfo(descent.dtype).max)
    course = ended.course if isinstance(descent.start, Ended) and ended is not None else None
    arrays = (
        np.array(problem.largest),
        starting_parameters(problem, descent.start, descent.seed, ended),
        *(() if course is None else (course.slots, course.average)),
        np.array(0.0 if descent.penalty is None else descent.penalty.strength),
    )
    if not all((np.abs(array) <= largest).all() for array in arrays):
        raise InvalidProblem(
            ("solver", "dtype"),
            f"In the units descent would run in, data, start or penalty hold numbers beyond {descent.dtype}.",
            f'numbers up to {largest:.4g}; "float64" and a scaling may bring them into range',
        )


def _check_length(descent: Descent, model: Model, recording: Recording, rows: int) -> None:
    plan = plan_batches(descent, rows)
    if plan.total_steps > MOST_STEPS:
        raise InvalidProblem(
            ("solver", "epochs" if descent.max_steps is None else "max_steps"),
            f"{plan.total_steps} steps cannot be counted.",
            f"at most {MOST_STEPS} steps in all",
        )
    kept = recorded_steps(recording, plan.total_steps, plan.steps_per_epoch).rows
    width = len(model.terms) * len(model.targets) if recording.coefficients else 1
    if kept * width > MOST_RECORDED_NUMBERS:
        raise InvalidProblem(
            ("record", "limit"),
            f"{kept} rows of {width} coefficients are too many to keep.",
            f'at most {MOST_RECORDED_NUMBERS // width} rows, or "coefficients": false',
        )


def _check_start(descent: Descent, model: Model, ended: Standing | None) -> None:
    if isinstance(descent.start, Values):
        _check_values(descent.start, model)
    elif isinstance(descent.start, Ended) and ended is not None:
        for kind, others, own in (("terms", ended.terms, model.terms), ("targets", ended.targets, model.targets)):
            if others != own:
                raise InvalidProblem(
                    ("solver", "start", "fit"),
                    f"That fit has other {kind}: {_listed(others)}, where this one has {_listed(own)}.",
                    f"a fit with the same {kind}, in the same order",
                )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:20]) + (", .." if len(names) > 20 else "")


def _check_values(start: Values, model: Model) -> None:
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
