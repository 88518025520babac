"""What tests of jobs share: fits to submit, and a worker's parts to run them with."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import pytest

from service.bootstrap import Services
from service.fitting.data import Dataset
from service.fitting.model import Model
from service.fitting.solver import Exact, Solver
from service.fitting.task import FitTask
from service.jobs.asked import Asked
from service.jobs.attempts import CANCEL_CHANNEL, Attempts
from service.jobs.notices import Notices
from service.jobs.records import FitRecord
from service.jobs.runner import FitRunner
from service.jobs.work import FitWork, Limits

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[..., Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
MakeWork = Callable[..., FitWork]


@pytest.fixture
def dataset() -> Dataset:
    return Dataset.from_columns({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 3.0, 2.0, 5.0]})


@pytest.fixture
def job_of(services: Services) -> JobOf:
    """The id of a fit's own job."""

    async def job_id(fit_id: UUID) -> int:
        async with services.pool.connection() as connection:
            cursor = await connection.execute("SELECT job_id FROM fit WHERE id = %s", [fit_id])
            [row] = await cursor.fetchall()
        return int(row["job_id"])

    return job_id


@pytest.fixture
def attempts(services: Services) -> Attempts:
    return Attempts(services.pool, most=3)


@pytest.fixture
def submit(services: Services, dataset: Dataset) -> Submit:
    """Submits a fit of `dataset` with a solver."""

    async def submit_with(solver: Solver = Exact()) -> FitRecord:  # noqa: B008 - frozen
        task = FitTask(Model(("x",), ("y",)), solver)
        return await services.fits.submit(Asked(dataset, task, {"solver": {"kind": solver.kind}}))

    return submit_with


@pytest.fixture
def sql(services: Services) -> Sql:
    """Runs one statement in a transaction of its own and returns its rows."""

    async def run(statement: str, *values: object) -> list[dict[str, Any]]:
        async with services.pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def child_environment() -> Mapping[str, str]:
    """The environment of a child."""
    return dict(os.environ)


@pytest.fixture
async def runner(child_environment: Mapping[str, str]) -> AsyncIterator[FitRunner]:
    runner = FitRunner(child_environment, threads=1)
    yield runner
    await runner.close()


@pytest.fixture
async def make_work(
    services: Services, database_url: str, runner: FitRunner, attempts: Attempts
) -> AsyncIterator[MakeWork]:
    """Makes the body of the queue's jobs, with limits of one's own, or other attempts."""
    cancellations = Notices(database_url, CANCEL_CHANNEL)

    def make(limits: Limits = Limits(3600.0, 10.0), attempts: Attempts = attempts) -> FitWork:  # noqa: B008 - frozen
        return FitWork(services.datasets, attempts, runner, cancellations, limits)

    async with cancellations.listening():
        yield make
