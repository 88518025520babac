"""What tests of jobs share: the serving side's parts on a real, empty database, and fits to submit."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

import psycopg
import psycopg.conninfo
import pytest

from service.bootstrap import Services, open_services
from service.fitting.data import Dataset
from service.fitting.model import Model
from service.fitting.solver import Exact, Solver
from service.fitting.task import FitTask
from service.jobs.attempts import Attempts
from service.jobs.records import FitRecord
from service.jobs.runner import FitRunner
from service.settings import Settings

_TABLES = "fit, dataset, trajectory_block, procrastinate_jobs, procrastinate_workers"

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[..., Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def dataset() -> Dataset:
    return Dataset.from_columns({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 3.0, 2.0, 5.0]})


@pytest.fixture
async def services(database_url: str) -> AsyncIterator[Services]:
    async with open_services(Settings(database_url=database_url)) as parts:
        async with parts.pool.connection() as connection:
            await connection.execute(f"TRUNCATE {_TABLES} CASCADE")
        yield parts


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
    return Attempts(services.pool, services.queue, most=3)


@pytest.fixture
def submit(services: Services, dataset: Dataset) -> Submit:
    """Submits a fit of `dataset` with a solver."""

    async def submit_with(solver: Solver = Exact()) -> FitRecord:  # noqa: B008 - frozen
        task = FitTask(Model(("x",), ("y",)), solver)
        return await services.fits.submit(dataset, task, {"solver": {"kind": solver.kind}}, {})

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
    runner = FitRunner(child_environment)
    yield runner
    await runner.close()


@pytest.fixture
def outage(postgres: str, database_url: str) -> Outage:
    """A context in which the test's database cuts its connections and takes no new ones."""
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    server = psycopg.conninfo.make_conninfo(postgres, dbname="postgres")

    @contextmanager
    def away() -> Iterator[None]:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            try:
                yield
            finally:
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

    return away
