"""From the contract's words to the domain's: a request body and its data become a task."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.api.schemas import data as asked_data
from service.api.schemas import solver as asked
from service.api.schemas.request import EverySteps, FitRequest
from service.datasets.cases import case, case_names
from service.datasets.store import DatasetStore
from service.fitting import solver as domain
from service.fitting.arrays import FloatArray
from service.fitting.check import check
from service.fitting.data import Dataset
from service.fitting.descent import optimizers, start
from service.fitting.descent.plan import plan_batches
from service.fitting.errors import InvalidProblem
from service.fitting.model import Model, resolve_model
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.task import FitTask


@dataclass(frozen=True)
class Submission:
    """A checked fit.

    Attributes
    ----------
    request
        The body again, every default filled in and inline data replaced by its dataset's id: sent once more, it asks
        for the same fit.
    """

    dataset: Dataset
    task: FitTask
    request: dict[str, Any]
    labels: dict[str, str]


async def submission_of(body: FitRequest, datasets: DatasetStore) -> Submission:
    """What a body asks for, looked at from every side that can be seen without running it.

    Raises
    ------
    InvalidProblem
        The parts do not go together, or name what is not there.
    """
    dataset = await dataset_of(body.data, datasets)
    # In a thread: both may take a moment on long data, and the others are waiting.
    return await asyncio.to_thread(_submission, body, dataset)


async def dataset_of(data: asked_data.Data, datasets: DatasetStore) -> Dataset:
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
            return await asyncio.to_thread(_inline_data, data)


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


def _submission(body: FitRequest, dataset: Dataset) -> Submission:
    options = body.model
    model = resolve_model(dataset.names, options.features, options.targets, options.intercept)
    solver = _filled_in(body.solver, dataset.rows)
    task = FitTask(
        model=model,
        solver=_solver(solver),
        scaling=Scaling(**body.scaling.model_dump()),
        loss=body.loss,
        recording=_recording(body),
    )
    check(task, dataset)
    return Submission(dataset, task, _echo(body, dataset, model, solver).to_json(), body.labels)


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
    return domain.Exact() if isinstance(solver, asked.Exact) else _descent(solver)


def _descent(descent: asked.Descent) -> domain.Descent:
    # The same names on both sides, which a test holds them to.
    return domain.Descent(
        **descent.model_dump(exclude={"optimizer", "start", "stop"}),
        optimizer=_optimizer(descent.optimizer),
        start=_start(descent.start),
        stop=domain.Stop(**descent.stop.model_dump()),
    )


def _optimizer(optimizer: asked.Optimizer) -> optimizers.Optimizer:
    match optimizer:
        case asked.Sgd():
            return optimizers.Sgd(**optimizer.model_dump())
        case asked.Rmsprop():
            return optimizers.Rmsprop(**optimizer.model_dump())


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


def _values(values: asked.ValuesStart) -> start.Values:
    rows = [tuple(row) for row in values.coefficients if isinstance(row, list)]
    intercept = tuple(values.intercept) if isinstance(values.intercept, list) else None
    return start.Values(tuple(rows), intercept, values.units)


def _recording(body: FitRequest) -> Recording:
    record = body.record
    every = record.every.steps if isinstance(record.every, EverySteps) else record.every
    return Recording(every, record.coefficients, record.limit)
