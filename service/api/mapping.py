"""From the contract's words to the domain's: a request body and its data become a task."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

import numpy as np

from service.api.optimizer_mapping import optimizer_of
from service.api.schemas import data as asked_data
from service.api.schemas import solver as asked
from service.api.schemas.request import EverySteps, FitRequest, InferenceOptions, OtherName
from service.api.starting import end_of_the_fit_before
from service.datasets.cases import case, case_names
from service.fitting import solver as domain
from service.fitting.arrays import FloatArray
from service.fitting.check import check
from service.fitting.data import Dataset
from service.fitting.descent import start
from service.fitting.descent.plan import plan_batches
from service.fitting.descent.standing import Standing
from service.fitting.errors import InvalidProblem
from service.fitting.inference.options import Inference
from service.fitting.model import Model, resolve_model
from service.fitting.penalty import L2, Penalty
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.task import FitTask
from service.jobs.asked import Asked
from service.jobs.fits import FitStore

T = TypeVar("T")

ProblemOf = Callable[[FitTask, Dataset], Problem]

#: So many are read and checked within a millisecond; for as little work a thread would be a detour.
FEW_NUMBERS = 10_000
#: In a matrix that is stored and sent with its fit: 20 MB of JSON.
MOST_ANSWERED_NUMBERS = 1_000_000


class Datasets(Protocol):
    """Where the datasets are that a body may name."""

    async def get(self, dataset_id: str) -> Dataset | None:
        """The dataset with this digest, or None where there is none."""


@dataclass(frozen=True)
class Submission:
    """A checked fit.

    Attributes
    ----------
    asked
        Its `request` is the body again, every default filled in and inline data replaced by its dataset's id: sent
        once more, it asks for the same fit.
    ended
        Where the fit ended that this one starts from; None where it starts from none.
    """

    problem: Problem
    asked: Asked
    ended: Standing | None


async def submission_of(
    body: FitRequest,
    datasets: Datasets,
    fits: FitStore,
    parent: UUID | None = None,
    problem_of: ProblemOf = FitTask.problem,
) -> Submission:
    """What a body asks for, looked at from every side that can be seen without running it.

    Parameters
    ----------
    parent
        The fit whose remedy this one is.
    problem_of
        Makes the problem of a task and its data, or knows it already.

    Raises
    ------
    InvalidProblem
        The parts do not go together, or name what is not there.
    """
    dataset = await dataset_of(body.data, datasets)
    ended = await end_of_the_fit_before(body.solver, fits, parent)
    return await _beside(dataset.values.size, lambda: _submission(body, dataset, ended, parent, problem_of))


async def dataset_of(data: asked_data.Data, datasets: Datasets) -> Dataset:
    """The numbers a body brings or names.

    Raises
    ------
    InvalidProblem
        Columns that do not fit together; an unknown dataset or case.
    """
    match data:
        case asked_data.StoredDataset():
            found = await datasets.get(data.dataset)
            if found is None:
                raise InvalidProblem(
                    ("data", "dataset"), "There is no dataset of this id.", "the id of a dataset that a fit has"
                )
            return found
        case asked_data.BuiltInCase():
            return await asyncio.to_thread(_case_data, data.case)
        case _:
            return await _beside(_size(data), lambda: _inline_data(data))


async def _beside(numbers: int, work: Callable[[], T]) -> T:
    """The work's result; from a thread where that may take a moment: there are others waiting."""
    return work() if numbers <= FEW_NUMBERS else await asyncio.to_thread(work)


def _size(data: asked_data.InlineColumns | asked_data.InlineArrays) -> int:
    if isinstance(data, asked_data.InlineColumns):
        return sum(len(column) for column in data.columns.values())
    return sum(len(row) if isinstance(row, list) else 1 for row in (*data.x, *data.y))


def _case_data(name: str) -> Dataset:
    found = case(name)
    if found is None:
        raise InvalidProblem(("data", "case"), "There is no case of this name.", ", ".join(case_names()))
    return found.dataset()


def _inline_data(data: asked_data.InlineColumns | asked_data.InlineArrays) -> Dataset:
    if isinstance(data, asked_data.InlineColumns):
        return Dataset.from_columns(data.columns)
    return Dataset.from_arrays(_matrix("x", data.x), _matrix("y", data.y))


def _matrix(name: str, rows: list[float] | list[list[float]]) -> FloatArray:
    width = len(rows[0]) if isinstance(rows[0], list) else None
    for place, row in enumerate(rows):
        if isinstance(row, list) and len(row) != width:
            raise InvalidProblem(
                ("data", name, place),
                f"This row has {len(row)} numbers where the first has {width}.",
                f"{width} numbers",
            )
    return np.array(rows, dtype=np.float64)


def _submission(
    body: FitRequest, dataset: Dataset, ended: Standing | None, parent: UUID | None, problem_of: ProblemOf
) -> Submission:
    clusters = body.inference.clusters
    model = resolve_model(dataset.names, **body.model.model_dump(), clusters=clusters)
    solver = _filled_in(body.solver, dataset.rows)
    task = FitTask(
        model=model,
        solver=_solver(solver),
        scaling=Scaling(**body.scaling.model_dump()),
        loss=body.loss,
        recording=_recording(body),
        inference=_inference(body.inference, model),
        others=_others(body.others),
        explain=tuple(body.explain),
    )
    problem = problem_of(task, dataset)
    check(task, problem, ended)
    request = _echo(body, dataset, model, solver).to_json()
    start_state = None if ended is None else ended.to_bytes()
    asked = Asked(dataset, task, request, body.labels, body.priority, start_state, parent)
    return Submission(problem, asked, ended)


def _echo(body: FitRequest, dataset: Dataset, model: Model, solver: asked.Solver) -> FitRequest:
    columns = {"features": list(model.features), "targets": list(model.targets)}
    is_case = isinstance(body.data, asked_data.BuiltInCase)
    data = body.data if is_case else asked_data.StoredDataset(dataset=dataset.digest)
    return body.model_copy(update={"data": data, "model": body.model.model_copy(update=columns), "solver": solver})


def _filled_in(solver: asked.Solver, rows: int) -> asked.Solver:
    """The solver with what depends on the data, and on its other options, written out."""
    if isinstance(solver, asked.Exact):
        return solver
    filled: dict[str, Any] = {}
    if solver.max_steps is not None and "epochs" not in solver.model_fields_set:
        steps_per_epoch = plan_batches(_descent(solver), rows).steps_per_epoch
        filled["epochs"] = -(-solver.max_steps // steps_per_epoch)
    if isinstance(solver.start, asked.ValuesStart):
        filled["start"] = _start_in_full(solver.start)
    return solver.model_copy(update=filled)


def _start_in_full(values: asked.ValuesStart) -> asked.ValuesStart:
    intercept = values.intercept
    full = {
        "coefficients": [row if isinstance(row, list) else [row] for row in values.coefficients],
        "intercept": [intercept] if isinstance(intercept, float) else intercept,
    }
    return values.model_copy(update=full)


def _solver(solver: asked.Solver) -> domain.Solver:
    return domain.Exact(_penalty(solver.penalty)) if isinstance(solver, asked.Exact) else _descent(solver)


def _descent(descent: asked.Descent) -> domain.Descent:
    # The same names on both sides, which a test holds them to.
    return domain.Descent(
        **descent.model_dump(exclude={"optimizer", "start", "stop", "penalty"}),
        optimizer=optimizer_of(descent.optimizer),
        start=_start(descent.start),
        stop=domain.Stop(**descent.stop.model_dump()),
        penalty=_penalty(descent.penalty),
    )


def _penalty(penalty: asked.Penalty | None) -> Penalty | None:
    match penalty:
        case None:
            return None
        case asked.L2Penalty():
            return L2(**penalty.model_dump())


def _start(asked_start: asked.Start) -> start.Start:
    match asked_start:
        case asked.ZerosStart():
            return start.Zeros()
        case asked.GlorotUniformStart():
            return start.GlorotUniform()
        case asked.NormalStart():
            return start.Normal(asked_start.stddev)
        case asked.ValuesStart():
            return _values(_start_in_full(asked_start))
        case asked.FitStart():
            return start.Ended(str(asked_start.fit))


def _values(values: asked.ValuesStart) -> start.Values:
    rows = [tuple(row) for row in values.coefficients if isinstance(row, list)]
    intercept = tuple(values.intercept) if isinstance(values.intercept, list) else None
    return start.Values(tuple(rows), intercept, values.units)


def _inference(options: InferenceOptions, model: Model) -> Inference:
    terms = len(model.terms)
    extents = {"covariance": terms**2 * len(model.targets), "collinearity": terms**2}
    for field, numbers in extents.items():
        if getattr(options, field) and numbers > MOST_ANSWERED_NUMBERS:
            allowed = f"false, or a model for which it is at most {MOST_ANSWERED_NUMBERS}"
            raise InvalidProblem(("inference", field), f"That would be {numbers} numbers.", allowed)
    return Inference(**options.model_dump())


def _others(names: Sequence[OtherName]) -> tuple[OtherName, ...]:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidProblem(("others", place), f"{name!r} is named twice.", "each program once")
    return tuple(names)


def _recording(body: FitRequest) -> Recording:
    record = body.record
    every = record.every.steps if isinstance(record.every, EverySteps) else record.every
    return Recording(every, record.coefficients, record.limit)
