"""The composition root: the one place that names concrete parts and joins them."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

from service.database.pool import Pool, open_pool
from service.datasets.store import DatasetStore
from service.jobs.attempts import Attempts
from service.jobs.consumer import QueueConsumer
from service.jobs.cores import Share, share
from service.jobs.fits import FitStore
from service.jobs.forecasting import Forecaster
from service.jobs.notices import FitNotices
from service.jobs.numba_cache import VARIABLE, numba_variables
from service.jobs.queue import FitQueue
from service.jobs.recovery import Recovery
from service.jobs.runner import FitRunner
from service.jobs.simulator import Simulator
from service.jobs.work import FitWork
from service.settings import Settings


class DatabaseNotNamed(Exception):
    """The settings name no database, and this process does not start one."""


@dataclass(frozen=True)
class Services:
    """What the routes need, joined."""

    settings: Settings
    pool: Pool
    datasets: DatasetStore
    fits: FitStore
    notices: FitNotices
    queue: FitQueue
    simulator: Simulator
    forecaster: Forecaster


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """The serving process's parts; at the end its child is killed. Opens whether or not the database answers yet.

    Raises
    ------
    DatabaseNotNamed
        The settings name no database.
    """
    url = database_url(settings)
    async with open_pool(url) as pool:
        queue = FitQueue(pool)
        await queue.open()
        fits = FitStore(pool, queue)
        notices = FitNotices(url, fits)
        with _child_environment(settings) as environment:
            async with notices.listening(), aclosing(Simulator(environment)) as simulator:
                datasets = DatasetStore(pool)
                forecaster = Forecaster(datasets, simulator.simulate)
                yield Services(settings, pool, datasets, fits, notices, queue, simulator, forecaster)


@dataclass(frozen=True)
class WorkerParts:
    """What a worker needs, joined."""

    share: Share
    runner: FitRunner
    consumer: QueueConsumer
    recovery: Recovery


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[WorkerParts]:
    """A worker's parts; at the end its child is killed. Opens whether or not the database answers yet.

    Raises
    ------
    DatabaseNotNamed
        The settings name no database.
    """
    async with open_pool(database_url(settings)) as pool:
        with _child_environment(settings) as environment:
            queue = FitQueue(pool)
            await queue.open()
            ours = share(settings.threads, settings.workers)
            runner = FitRunner(environment, ours.threads)
            attempts = Attempts(pool, queue, settings.max_attempts)
            work = FitWork(DatasetStore(pool), attempts, runner)
            consumer = QueueConsumer(pool, work, settings.grace_seconds)
            try:
                yield WorkerParts(ours, runner, consumer, Recovery(pool, queue, settings.max_attempts))
            finally:
                await runner.close()


@contextmanager
def _child_environment(settings: Settings) -> Iterator[dict[str, str]]:
    # What is set for this process is meant for its children too.
    if VARIABLE in os.environ:
        yield dict(os.environ)
        return
    with numba_variables(settings.data_dir) as variables:
        yield os.environ | variables


def database_url(settings: Settings) -> str:
    """The URL that the operator gave this process, or `serve` where it runs the bundled database itself."""
    if settings.database_url is None:
        raise DatabaseNotNamed("PLUMBLINE_DATABASE_URL is not set: only `plumbline serve` finds a database by itself")
    return settings.database_url
