"""The composition root: the one place that names concrete parts and joins them."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

from service.database.pool import Pool, open_pool
from service.datasets.address import open_files
from service.datasets.store import DatasetStore
from service.jobs.attempts import CANCEL_CHANNEL, Attempts
from service.jobs.consumer import QueueConsumer
from service.jobs.cores import Share, share
from service.jobs.feed import Feed
from service.jobs.fits import FitStore
from service.jobs.forecasting import Forecaster
from service.jobs.heart import Heart
from service.jobs.keeper import FitKeeper
from service.jobs.notices import FitNotices, Notices
from service.jobs.numba_cache import VARIABLE, numba_variables
from service.jobs.queue import FitQueue
from service.jobs.queue_report import QueueReporter
from service.jobs.recovery import Recovery
from service.jobs.runner import FitRunner
from service.jobs.simulator import Simulator
from service.jobs.work import FitWork, Limits
from service.settings import Settings

# A database that hangs is as good as one that is away: whoever asked over HTTP is to hear of it.
_ANSWER_SECONDS = 10.0


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
    feed: Feed
    queue: FitQueue
    keeper: FitKeeper
    reporter: QueueReporter
    simulator: Simulator
    forecaster: Forecaster


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """The serving process's parts; at the end its child is killed. Opens whether or not the database answers yet.

    Raises
    ------
    DatabaseNotNamed
        The settings name no database.
    StoreUnusable
        Datasets can never be kept where the settings say.
    """
    url = database_url(settings)
    files = await open_files(settings.dataset_store)
    async with open_pool(url, answer_seconds=_ANSWER_SECONDS) as pool:
        queue = FitQueue(pool)
        await queue.open()
        datasets = DatasetStore(pool, files)
        fits = FitStore(pool, datasets)
        notices = FitNotices(url, fits)
        with _child_environment(settings) as environment:
            async with notices.listening(), aclosing(Simulator(environment)) as simulator:
                forecaster = Forecaster(datasets, simulator.simulate)
                keeper = FitKeeper(pool, queue, datasets)
                reporter = QueueReporter(pool)
                yield Services(
                    settings,
                    pool,
                    datasets,
                    fits,
                    notices,
                    Feed(pool, notices),
                    queue,
                    keeper,
                    reporter,
                    simulator,
                    forecaster,
                )


@dataclass(frozen=True)
class WorkerParts:
    """What a worker needs, joined."""

    share: Share
    runner: FitRunner
    work: FitWork
    consumer: QueueConsumer
    recovery: Recovery
    keeper: FitKeeper


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[WorkerParts]:
    """A worker's parts; at the end its child is killed. Opens whether or not the database answers yet.

    Raises
    ------
    DatabaseNotNamed
        The settings name no database.
    StoreUnusable
        Datasets can never be kept where the settings say.
    """
    url = database_url(settings)
    files = await open_files(settings.dataset_store)
    async with open_pool(url) as pool:
        with _child_environment(settings) as environment:
            queue = FitQueue(pool)
            await queue.open()
            ours = share(settings.threads, settings.workers)
            runner = FitRunner(environment, ours.threads)
            attempts = Attempts(pool, settings.max_attempts)
            cancellations = Notices(url, CANCEL_CHANNEL)
            limits = Limits(settings.max_fit_seconds, settings.cancel_grace_seconds)
            datasets = DatasetStore(pool, files)
            work = FitWork(datasets, attempts, runner, cancellations, limits)
            consumer = QueueConsumer(pool, work, settings.grace_seconds)
            recovery = Recovery(pool, settings.max_attempts)
            try:
                async with Heart(url, lambda: consumer.worker_id).beating(), cancellations.listening():
                    yield WorkerParts(ours, runner, work, consumer, recovery, FitKeeper(pool, queue, datasets))
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
