"""What the queue says of itself, counted by hand, and that it asks indexes for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from service.bootstrap import Services
from service.database.pool import Pool, open_pool
from service.datasets.store import DatasetStore
from service.fitting.data import Dataset
from service.fitting.model import Model
from service.fitting.solver import Exact
from service.fitting.task import FitTask
from service.jobs.asked import Asked
from service.jobs.attempts import Attempts
from service.jobs.heart import Heart
from service.jobs.inline import solve_at_once
from service.jobs.keeper import FitKeeper
from service.jobs.queue import FitQueue
from service.jobs.queue_report import QueueReport, QueueReporter
from tests.jobs.test_attempts import ERROR, SOLVED

pytestmark = pytest.mark.anyio

TASK = FitTask(Model(("x",), ("y",)), Exact())
#: So many, that the planner would rather not go through them all.
MANY = 5000

JobOf = Callable[[UUID], Awaitable[int]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Queue = Callable[..., Awaitable[UUID]]


@pytest.fixture
def reporter(services: Services) -> QueueReporter:
    return services.reporter


@pytest.fixture
def queue(services: Services, dataset: Dataset, sql: Sql) -> Queue:
    """Submits a fit that has waited for so many seconds."""

    async def submit(priority: int = 0, seconds: float = 0.0) -> UUID:
        record = await services.fits.submit(Asked(dataset, TASK, {}, {"n": "1"}, priority), fresh=True)
        await sql("UPDATE fit SET queued_at = now() - %s WHERE id = %s", timedelta(seconds=seconds), record.id)
        return record.id

    return submit


@pytest.fixture
async def workers(database_url: str, services: Services, sql: Sql) -> AsyncIterator[list[int]]:
    """Two workers that are alive."""
    async with AsyncExitStack() as stack:
        ids = [(await sql("SELECT worker_id AS id FROM procrastinate_register_worker_v1()"))[0]["id"] for _ in range(2)]
        for worker_id in ids:
            await stack.enter_async_context(Heart(database_url, partial(int, worker_id)).beating())
        async with asyncio.timeout(30):
            while await services.queue.listening_workers() < len(ids):
                pass
        yield ids


async def test_an_empty_queue_has_nothing_to_say(reporter: QueueReporter) -> None:
    assert await reporter.report() == QueueReport(0, 0, None, 0.0, 0.0, 0, 0, ())


async def test_the_queue_is_counted_by_priority(reporter: QueueReporter, queue: Queue) -> None:
    for priority, seconds in ((0, 50), (0, 20), (7, 30), (-3, 100)):
        await queue(priority, seconds)
    report = await reporter.report()
    assert (report.depth, report.running) == (4, 0)
    assert [(line.priority, line.depth) for line in report.lines] == [(7, 1), (0, 2), (-3, 1)]
    assert [line.oldest for line in report.lines] == pytest.approx([30, 50, 100], abs=10)
    assert report.oldest == max(line.oldest for line in report.lines)
    assert report.arrivals == 4 / 60


async def test_what_a_client_puts_back_has_only_waited_since(
    services: Services, reporter: QueueReporter, queue: Queue, attempts: Attempts, job_of: JobOf
) -> None:
    fit_id = await queue(seconds=3600)
    attempt = await attempts.begin(fit_id, await job_of(fit_id))
    assert attempt is not None
    assert await attempts.fail(attempt, ERROR)
    assert await services.keeper.retry(fit_id) == "failed"
    [line] = (await reporter.report()).lines
    assert (line.priority, line.depth) == (0, 1)
    assert line.oldest < 60


async def test_rates_are_those_of_the_last_minute_and_of_the_queue_alone(
    services: Services,
    reporter: QueueReporter,
    queue: Queue,
    attempts: Attempts,
    job_of: JobOf,
    dataset: Dataset,
    sql: Sql,
) -> None:
    for age in (0, 30, 90):
        fit_id = await queue()
        attempt = await attempts.begin(fit_id, await job_of(fit_id))
        assert attempt is not None
        assert await attempts.succeed(attempt, SOLVED)
        times = "created_at = created_at - %s, finished_at = finished_at - %s"
        await sql(f"UPDATE fit SET {times} WHERE id = %s", *[timedelta(seconds=age)] * 2, fit_id)
    solved = solve_at_once(TASK, dataset)
    assert solved is not None
    await services.fits.store(Asked(dataset, TASK, {}), solved, fresh=True)
    report = await reporter.report()
    assert (report.rate, report.arrivals, report.depth) == (2 / 60, 2 / 60, 0)


async def test_workers_that_live_and_those_that_work_are_counted(
    reporter: QueueReporter, queue: Queue, attempts: Attempts, workers: list[int], sql: Sql
) -> None:
    await sql("INSERT INTO procrastinate_workers DEFAULT VALUES")  # whose process is gone
    assert ((await reporter.report()).workers, (await reporter.report()).busy) == (2, 0)
    fit_id = await queue()
    [job] = await sql("SELECT id FROM procrastinate_fetch_job_v2('{fits}', %s)", workers[0])
    assert await attempts.begin(fit_id, job["id"]) is not None
    report = await reporter.report()
    assert (report.workers, report.busy, report.running, report.depth) == (2, 1, 1, 0)


@pytest.fixture
def fail(queue: Queue, attempts: Attempts, job_of: JobOf, sql: Sql) -> Queue:
    """Submits a fit that failed so many seconds ago."""

    async def give_up(seconds: float) -> UUID:
        fit_id = await queue()
        attempt = await attempts.begin(fit_id, await job_of(fit_id))
        assert attempt is not None
        assert await attempts.fail(attempt, ERROR)
        await sql("UPDATE fit SET finished_at = now() - %s WHERE id = %s", timedelta(seconds=seconds), fit_id)
        return fit_id

    return give_up


async def test_dead_letters_go_from_the_latest_failure_to_the_first(
    reporter: QueueReporter, queue: Queue, fail: Queue, sql: Sql
) -> None:
    middle, first, latest = [await fail(seconds) for seconds in (20, 30, 10)]
    await queue()
    letters = await reporter.dead_letters(10, None)
    assert [letter.id for letter in letters] == [latest, middle, first]
    assert [(letter.labels, letter.attempt, letter.error) for letter in letters] == [({"n": "1"}, 1, ERROR)] * 3
    assert await reporter.dead_letters(2, None) == letters[:2]
    assert await reporter.dead_letters(2, (letters[1].failed_at, letters[1].id)) == letters[2:]
    await sql("UPDATE fit SET finished_at = now()")
    together = await reporter.dead_letters(10, None)
    assert await reporter.dead_letters(10, (together[0].failed_at, together[0].id)) == together[1:]


# Many fits, each of its own data, that finished, one every second, and some of them failed.
_FILL = """
WITH stored AS (
    INSERT INTO dataset (id, rows, columns, body) SELECT n, 0, '[]', '' FROM generate_series(1, %s) AS n
)
INSERT INTO fit (id, status, dataset_id, request, task, created_at, finished_at, job_id, error)
SELECT gen_random_uuid(), CASE WHEN mod(n, 100) = 0 THEN 'failed' ELSE 'succeeded' END, n, '{}', '{}',
    now() - make_interval(secs => n), now() - make_interval(secs => n), n, '{"code": "crashed", "message": "It broke."}'
FROM generate_series(1, %s) AS n
"""

_SCANS = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'fit'"


async def test_finished_fits_are_not_gone_through(database_url: str, queue: Queue, sql: Sql) -> None:
    await queue(3, 5.0)
    await sql(_FILL, MANY, MANY)
    await sql("ANALYZE fit")
    # On one connection, which can say what it has just done.
    async with open_pool(database_url, most_connections=1) as pool:
        before = await _scans(pool)
        report = await QueueReporter(pool).report()
        assert (report.depth, report.lines[0].priority) == (1, 3)
        letters = await QueueReporter(pool).dead_letters(20, None)
        assert len(await QueueReporter(pool).dead_letters(200, (letters[-1].failed_at, letters[-1].id))) == 30
        keeper = FitKeeper(pool, FitQueue(pool), DatasetStore(pool))
        assert await keeper.clear(None, 10)
        assert await keeper.clear(0.01, None)
        assert await _scans(pool) == before


async def _scans(pool: Pool) -> int:
    """How often the table of fits was gone through from one end to the other."""
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        cursor = await connection.execute(_SCANS)
        [row] = await cursor.fetchall()
    return int(row["seq_scan"])
