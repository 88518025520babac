"""Fits cancelled, tried again, deleted and cleared away, on a real database, against workers that go on meanwhile."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import numpy as np
import psutil
import pytest
from psycopg import AsyncConnection

from service.bootstrap import Services
from service.database.pool import transaction
from service.datasets.files import path_of
from service.datasets.folder import Folder
from service.datasets.store import INLINE_BYTES, DatasetStore
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam
from service.fitting.model import Model
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import FitTask
from service.jobs.asked import Asked
from service.jobs.attempts import CANCEL_CHANNEL, CHANNEL, Attempt, Attempts
from service.jobs.fits import FitStore
from service.jobs.keeper import BATCH, FitKeeper
from service.jobs.records import FitRecord, FitStatus
from service.jobs.recovery import Recovery
from tests.jobs.test_attempts import ERROR, FIRST, SOLVED

pytestmark = pytest.mark.anyio

FINISHED: tuple[FitStatus, ...] = ("succeeded", "failed", "cancelled")
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
NOBODY: frozenset[int] = frozenset()

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[..., Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Bring = Callable[[FitStatus], Awaitable[UUID]]
Heard = Callable[[Callable[[], Awaitable[object]]], Awaitable[set[tuple[str, str]]]]


@pytest.fixture
def keeper(services: Services) -> FitKeeper:
    return services.keeper


@pytest.fixture
def submit(services: Services, dataset: Dataset) -> Submit:
    """Submits a fit of `dataset`, whether there is one like it or not."""

    async def submit_with(solver: Solver = Exact()) -> FitRecord:  # noqa: B008 - frozen
        return await services.fits.submit(Asked(dataset, FitTask(Model(("x",), ("y",)), solver), {}), fresh=True)

    return submit_with


@pytest.fixture
def bring(submit: Submit, attempts: Attempts, job_of: JobOf, keeper: FitKeeper) -> Bring:
    """Submits a fit and brings it to a status, with a part of a trajectory where it was begun; its job stays."""

    async def begun(fit_id: UUID) -> Attempt:
        attempt = await attempts.begin(fit_id, await job_of(fit_id))
        assert attempt is not None
        assert await attempts.keep(attempt, FIRST)
        return attempt

    async def brought(status: FitStatus) -> UUID:
        fit_id = (await submit()).id
        if status in ("running", "succeeded", "failed"):
            attempt = await begun(fit_id)
        if status == "succeeded":
            assert await attempts.succeed(attempt, SOLVED)
        if status == "failed":
            assert await attempts.fail(attempt, ERROR)
        if status == "cancelled":
            assert await keeper.cancel(fit_id) == "queued"
        return fit_id

    return brought


@pytest.fixture
async def heard(database_url: str, sql: Sql) -> AsyncIterator[Heard]:
    """Does something and returns the notices, with their channels, that come of it."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        for channel in (CHANNEL, CANCEL_CHANNEL):
            await connection.execute(f"LISTEN {channel}")

        async def notices_of(act: Callable[[], Awaitable[object]]) -> set[tuple[str, str]]:
            await act()
            # They come in the order of the transactions.
            last = str(uuid4())
            await sql("SELECT pg_notify(%s, %s)", CHANNEL, last)
            found: set[tuple[str, str]] = set()
            async for notice in connection.notifies(timeout=10):
                if notice.payload == last:
                    return found
                found.add((notice.channel, notice.payload))
            raise TimeoutError

        yield notices_of


async def _read(services: Services, fit_id: UUID) -> FitRecord:
    record = await services.fits.get(fit_id)
    assert record is not None
    return record


async def _jobs(sql: Sql) -> list[tuple[int, str]]:
    return [(row["id"], row["status"]) for row in await sql("SELECT id, status::text FROM procrastinate_jobs")]


async def _counts(sql: Sql) -> tuple[int, ...]:
    tables = ("fit", "dataset", "trajectory_block", "procrastinate_jobs")
    [row] = await sql("SELECT " + ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in tables))
    return tuple(row.values())


# Cancelling.


async def test_a_queued_fit_is_cancelled_at_once_and_never_begun(
    services: Services, keeper: FitKeeper, bring: Bring, attempts: Attempts, job_of: JobOf, sql: Sql
) -> None:
    fit_id = await bring("queued")
    assert await keeper.cancel(fit_id) == "queued"
    record = await _read(services, fit_id)
    assert (record.status, record.version, record.report, record.error) == ("cancelled", 2, None, None)
    assert record.finished_at is not None
    assert await _jobs(sql) == []
    assert await attempts.begin(fit_id, await job_of(fit_id)) is None
    assert await sql("SELECT digest FROM fit") == [{"digest": None}]


async def test_a_job_that_a_worker_has_fetched_is_left_to_it(keeper: FitKeeper, bring: Bring, sql: Sql) -> None:
    fit_id = await bring("queued")
    await sql("UPDATE procrastinate_jobs SET status = 'doing'")
    assert await keeper.cancel(fit_id) == "queued"
    assert [status for _, status in await _jobs(sql)] == ["doing"]


async def test_what_an_earlier_attempt_wrote_down_goes_with_a_queued_fit(
    keeper: FitKeeper, submit: Submit, attempts: Attempts, job_of: JobOf, sql: Sql
) -> None:
    fit_id = (await submit()).id
    attempt = await attempts.begin(fit_id, await job_of(fit_id))
    assert attempt is not None
    assert await attempts.keep(attempt, FIRST)
    assert await attempts.release(attempt)
    assert await keeper.cancel(fit_id) == "queued"
    assert await _counts(sql) == (1, 1, 0, 0)


async def test_a_running_fits_worker_is_told_once(
    services: Services, keeper: FitKeeper, bring: Bring, sql: Sql, heard: Heard
) -> None:
    fit_id = await bring("running")
    assert await heard(lambda: keeper.cancel(fit_id)) == {(CHANNEL, str(fit_id)), (CANCEL_CHANNEL, str(fit_id))}
    before = await _read(services, fit_id)
    assert (before.status, before.version) == ("running", 3)
    [first] = await sql("SELECT cancel_requested_at FROM fit")
    assert await heard(lambda: keeper.cancel(fit_id)) == set()
    assert await sql("SELECT cancel_requested_at FROM fit") == [first]
    assert await _read(services, fit_id) == before
    assert len(await _jobs(sql)) == 1


@pytest.mark.parametrize("status", FINISHED)
async def test_a_finished_fit_is_not_cancelled(
    services: Services, keeper: FitKeeper, bring: Bring, status: FitStatus
) -> None:
    fit_id = await bring(status)
    before = await _read(services, fit_id)
    assert await keeper.cancel(fit_id) == status
    assert await _read(services, fit_id) == before


# Trying again.


async def test_a_failed_fit_is_queued_as_new(
    services: Services, keeper: FitKeeper, bring: Bring, attempts: Attempts, job_of: JobOf, sql: Sql
) -> None:
    fit_id = await bring("failed")
    await sql("UPDATE fit SET priority = 7, cancel_requested_at = now(), queued_at = now() - interval '1 day'")
    before, old_job = await _read(services, fit_id), await job_of(fit_id)
    assert await keeper.retry(fit_id) == "failed"
    record = await _read(services, fit_id)
    assert (record.status, record.version, record.attempt) == ("queued", before.version + 1, 0)
    assert (record.error, record.progress, record.started_at, record.finished_at) == (None, None, None, None)
    job_id = await job_of(fit_id)
    assert await sql("SELECT priority, status::text FROM procrastinate_jobs WHERE id = %s", job_id) == [
        {"priority": 7, "status": "todo"}
    ]
    [row] = await sql("SELECT cancel_requested_at, now() - queued_at < interval '1 minute' AS now FROM fit")
    assert row == {"cancel_requested_at": None, "now": True}
    assert await attempts.begin(fit_id, old_job) is None
    attempt = await attempts.begin(fit_id, job_id)
    assert attempt is not None
    assert attempt.number == 1


@pytest.mark.parametrize("status", sorted({*get_args(FitStatus)} - {"failed"}))
async def test_no_other_fit_is_tried_again(
    services: Services, keeper: FitKeeper, bring: Bring, sql: Sql, status: FitStatus
) -> None:
    fit_id = await bring(status)
    before, jobs = await _read(services, fit_id), await _jobs(sql)
    assert await keeper.retry(fit_id) == status
    assert await _read(services, fit_id) == before
    assert await _jobs(sql) == jobs


async def test_only_a_client_brings_a_failed_fit_back(
    services: Services, submit: Submit, attempts: Attempts, job_of: JobOf
) -> None:
    fit_id = (await submit()).id
    late = await attempts.begin(fit_id, await job_of(fit_id))
    assert late is not None
    assert await attempts.fail(late, ERROR)
    assert not await attempts.release(late)
    assert (await _read(services, fit_id)).status == "failed"


async def test_who_worked_at_the_fit_before_changes_nothing_after_the_retry(
    services: Services, keeper: FitKeeper, submit: Submit, attempts: Attempts, job_of: JobOf
) -> None:
    fit_id = (await submit()).id
    late = await attempts.begin(fit_id, await job_of(fit_id))
    assert late is not None
    assert await attempts.fail(late, ERROR)
    assert await keeper.retry(fit_id) == "failed"
    assert await attempts.begin(fit_id, await job_of(fit_id)) is not None
    before = await _read(services, fit_id)
    assert before.attempt == late.number
    assert not await attempts.succeed(late, SOLVED)
    assert not await attempts.release(late)
    assert await _read(services, fit_id) == before


# Deleting.


@pytest.mark.parametrize("status", ["queued", *FINISHED])
async def test_a_deleted_fit_leaves_nothing(keeper: FitKeeper, bring: Bring, sql: Sql, status: FitStatus) -> None:
    fit_id = await bring(status)
    assert await keeper.delete(fit_id) == status
    assert await _counts(sql) == (0, 0, 0, 0)
    assert await keeper.delete(fit_id) is None


async def test_a_running_fit_is_not_deleted(services: Services, keeper: FitKeeper, bring: Bring, sql: Sql) -> None:
    fit_id = await bring("running")
    before, counts = await _read(services, fit_id), await _counts(sql)
    assert await keeper.delete(fit_id) == "running"
    assert (await _read(services, fit_id), await _counts(sql)) == (before, counts)


async def test_a_dataset_goes_with_the_last_fit_that_needs_it(keeper: FitKeeper, bring: Bring, sql: Sql) -> None:
    first, second = await bring("succeeded"), await bring("failed")
    assert await keeper.delete(first) == "succeeded"
    assert await sql("SELECT count(*) AS n FROM dataset") == [{"n": 1}]
    assert await keeper.delete(second) == "failed"
    assert await sql("SELECT count(*) AS n FROM dataset") == [{"n": 0}]


async def test_a_remedy_keeps_its_parents_id(services: Services, keeper: FitKeeper, bring: Bring, sql: Sql) -> None:
    parent, child = await bring("succeeded"), await bring("succeeded")
    await sql("UPDATE fit SET parent = %s WHERE id = %s", parent, child)
    assert await keeper.delete(parent) == "succeeded"
    assert (await _read(services, child)).parent == parent


@pytest.mark.parametrize(("wish", "status"), [("cancel", "queued"), ("retry", "failed"), ("delete", "succeeded")])
async def test_who_waits_for_a_fit_hears_of_it(
    keeper: FitKeeper, bring: Bring, heard: Heard, wish: str, status: FitStatus
) -> None:
    fit_id = await bring(status)
    assert await heard(lambda: getattr(keeper, wish)(fit_id)) == {(CHANNEL, str(fit_id))}


async def test_a_key_is_free_again_when_all_of_its_fits_are_gone(keeper: FitKeeper, bring: Bring, sql: Sql) -> None:
    first, second = await bring("queued"), await bring("succeeded")
    for name, fits in (("both", [first, second]), ("one", [second]), ("other", [uuid4(), await bring("failed")])):
        await sql("INSERT INTO submission (key, digest, fits) VALUES (%s, '', %s)", name, fits)
    keys = "SELECT key FROM submission ORDER BY key"
    assert await keeper.delete(second) == "succeeded"
    assert await sql(keys) == [{"key": "both"}, {"key": "other"}]
    assert await keeper.delete(first) == "queued"
    assert await sql(keys) == [{"key": "other"}]


async def test_two_deletions_at_once_free_the_key_of_both(
    services: Services, keeper: FitKeeper, bring: Bring, sql: Sql
) -> None:
    fits = [await bring("succeeded") for _ in range(2)]
    await sql("INSERT INTO submission (key, digest, fits) VALUES ('both', '', %s)", fits)
    async with transaction(services.pool) as connection:
        await connection.execute("SELECT FROM submission FOR UPDATE")
        deleting = [asyncio.create_task(keeper.delete(fit_id)) for fit_id in fits]
        while len(await sql(WAITING)) < 2:
            assert not any(task.done() for task in deleting)
    assert await asyncio.gather(*deleting) == ["succeeded"] * 2
    assert await sql("SELECT key FROM submission") == []


@pytest.mark.parametrize("wish", ["cancel", "retry", "delete"])
async def test_what_is_not_there_is_none(keeper: FitKeeper, wish: str) -> None:
    assert await getattr(keeper, wish)(uuid4()) is None


# Clearing away.


async def _age(sql: Sql, fit_id: UUID, days: float) -> None:
    await sql("UPDATE fit SET finished_at = now() - %s WHERE id = %s", timedelta(days=days), fit_id)


async def _left(sql: Sql) -> set[UUID]:
    return {row["id"] for row in await sql("SELECT id FROM fit")}


@pytest.mark.parametrize(
    ("days", "count", "kept"),
    [
        (None, None, {0, 1, 2, 3}),
        (2.5, None, {0, 1}),
        (None, 3, {0, 1, 2}),
        (2.5, 3, {0, 1}),
        (3.5, 1, {0}),
        (None, 0, set()),
        (0.001, 0, set()),
        (100, 100, {0, 1, 2, 3}),
    ],
)
async def test_finished_fits_are_kept_by_age_and_count(
    keeper: FitKeeper, bring: Bring, sql: Sql, days: float | None, count: int | None, kept: set[int]
) -> None:
    statuses: tuple[FitStatus, ...] = ("succeeded", "failed", "cancelled", "succeeded")
    finished = [await bring(status) for status in statuses]
    for place, fit_id in enumerate(finished):
        await _age(sql, fit_id, place + 0.5)
    unfinished = {await bring("queued"), await bring("running")}
    await sql("UPDATE fit SET created_at = now() - interval '50 days'")
    assert not await keeper.clear(days, count)
    assert await _left(sql) == {finished[place] for place in kept} | unfinished


async def test_fits_that_finished_at_the_same_moment_are_counted_one_by_one(
    keeper: FitKeeper, bring: Bring, sql: Sql
) -> None:
    for _ in range(5):
        await bring("succeeded")
    await sql("UPDATE fit SET finished_at = now()")
    assert not await keeper.clear(None, 2)
    assert len(await _left(sql)) == 2


async def test_the_oldest_go_first_some_at_a_time_with_all_that_is_theirs(
    keeper: FitKeeper, bring: Bring, sql: Sql
) -> None:
    fit_id = await bring("succeeded")
    await sql(_COPIES, fit_id, BATCH + 9)
    assert await keeper.clear(None, 5)
    [oldest] = await sql("SELECT min(n) AS n FROM (SELECT (labels->>'n')::int AS n FROM fit) AS copies")
    assert oldest["n"] == BATCH
    assert not await keeper.clear(None, 5)
    assert await _counts(sql) == (5, 1, 0, 0)
    assert not await keeper.clear(None, 0)
    assert await _counts(sql) == (0, 0, 0, 0)


# So many copies of a fit, each a second younger than the one before.
_COPIES = """
INSERT INTO fit (id, status, dataset_id, request, task, labels, finished_at)
SELECT gen_random_uuid(), status, dataset_id, request, task, jsonb_build_object('n', n::text),
    finished_at + make_interval(secs => n)
FROM (SELECT * FROM fit WHERE id = %s) AS original, generate_series(1, %s) AS n
"""


async def test_many_workers_clear_at_once_and_keep_what_is_to_be_kept(
    keeper: FitKeeper, bring: Bring, sql: Sql
) -> None:
    await sql(_COPIES, await bring("succeeded"), 6 * BATCH)
    while any(await asyncio.gather(*(keeper.clear(None, 7) for _ in range(5)))):
        pass
    rows = await sql("SELECT labels->>'n' AS n FROM fit ORDER BY finished_at DESC")
    assert [row["n"] for row in rows] == [str(6 * BATCH - place) for place in range(7)]


async def test_what_somebody_holds_is_left_for_the_next_time(
    services: Services, keeper: FitKeeper, bring: Bring, sql: Sql
) -> None:
    held, free = await bring("succeeded"), await bring("succeeded")
    async with transaction(services.pool) as connection:
        await connection.execute("SELECT FROM fit WHERE id = %s FOR UPDATE", [held])
        assert not await keeper.clear(None, 0)
        assert await _left(sql) == {held}
    assert not await keeper.clear(None, 0)
    assert await _left(sql) == set()
    assert await keeper.delete(free) is None


async def test_keys_are_kept_for_a_day_whether_fits_are_or_not(keeper: FitKeeper, bring: Bring, sql: Sql) -> None:
    fit_id = await bring("succeeded")
    for name, hours in (("old", 25), ("young", 23)):
        age = timedelta(hours=hours)
        await sql("INSERT INTO submission VALUES (%s, '', %s, now() - %s)", name, [fit_id], age)
    assert not await keeper.clear(None, None)
    assert await sql("SELECT key FROM submission") == [{"key": "young"}]
    assert await _left(sql) == {fit_id}


async def test_datasets_that_a_crash_left_are_found(
    services: Services, keeper: FitKeeper, bring: Bring, sql: Sql
) -> None:
    used = (await _read(services, await bring("succeeded"))).dataset_id
    for name, hours in (("old", 2), ("young", 0)):
        age = timedelta(hours=hours)
        await sql("INSERT INTO dataset VALUES (%s, 0, '[]', '', now() - %s)", name, age)
    await sql("UPDATE dataset SET created_at = now() - interval '2 hours' WHERE id = %s", used)
    await keeper.clear_leftovers()
    assert {row["id"] for row in await sql("SELECT id FROM dataset")} == {used, "young"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where large datasets are kept."""
    return tmp_path / "datasets"


@pytest.fixture
async def large(services: Services, folder: Path) -> tuple[FitKeeper, FitRecord]:
    """A fit whose dataset lies in a file, and the keeper who knows where."""
    store = DatasetStore(services.pool, Folder(folder))
    Folder(folder).check()
    column = np.arange(INLINE_BYTES / 8)
    dataset = Dataset(("x", "y"), np.column_stack([column, column]))
    asked = Asked(dataset, FitTask(Model(("x",), ("y",)), Exact()), {})
    record = await FitStore(services.pool, store).submit(asked)
    assert Folder(folder).get(record.dataset_id) is not None
    return FitKeeper(services.pool, services.queue, DatasetStore(services.pool, Folder(folder))), record


async def test_a_large_dataset_goes_with_its_file(large: tuple[FitKeeper, FitRecord], folder: Path) -> None:
    keeper, record = large
    assert await keeper.delete(record.id) == "queued"
    assert Folder(folder).get(record.dataset_id) is None


async def test_a_file_that_cannot_be_removed_goes_later(
    services: Services, large: tuple[FitKeeper, FitRecord], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, record = large
    away = folder.with_name("away")
    await asyncio.to_thread(folder.rename, away)
    assert await keeper.delete(record.id) == "queued"
    assert await services.fits.get(record.id) is None
    assert "left for later" in caplog.text
    await asyncio.to_thread(away.rename, folder)
    await keeper.clear_leftovers()
    assert Folder(folder).get(record.dataset_id) is not None
    hours_ago = time.time() - 2 * 3600
    os.utime(folder / path_of(record.dataset_id), (hours_ago, hours_ago))
    await keeper.clear_leftovers()
    assert Folder(folder).get(record.dataset_id) is None


# With a real worker.


@asynccontextmanager
async def _worker(services: Services, folder: Path, **settings: str) -> AsyncIterator[psutil.Process]:
    """A worker that listens."""
    told = {"DATABASE_URL": str(services.settings.database_url), "DATA_DIR": str(folder)} | settings
    worker = _start({**os.environ, **{f"PLUMBLINE_{name}": value for name, value in told.items()}})
    try:
        await _eventually(services.queue.listening_workers)
        yield psutil.Process(worker.pid)
    finally:
        worker.kill()
        await asyncio.to_thread(worker.wait)


def _start(environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "service.worker"], env=environment)


async def _eventually(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0.02)


async def _until_computing(services: Services, fit_id: UUID) -> None:
    async def computes() -> bool:
        return (await _read(services, fit_id)).progress is not None

    await _eventually(computes)


async def _ended(services: Services, fit_id: UUID) -> FitRecord:
    record = await services.notices.wait(fit_id, 60)
    assert record is not None
    return record


@pytest.mark.long
async def test_fits_are_cancelled_retried_and_cleared_away_beside_a_worker(
    services: Services, keeper: FitKeeper, submit: Submit, tmp_path: Path, sql: Sql
) -> None:
    async with _worker(services, tmp_path, MAX_ATTEMPTS="1") as worker:
        endless = (await submit(Descent(optimizer=Adam(), epochs=10**11))).id
        await _until_computing(services, endless)
        assert await keeper.delete(endless) == "running"
        assert await keeper.cancel(endless) == "running"
        cancelled = await _ended(services, endless)
        assert cancelled.report is not None
        assert (cancelled.status, cancelled.report.outcome.kind) == ("cancelled", "cancelled")

        lasting = (await submit(Descent(optimizer=Adam(), epochs=5 * 10**6))).id
        await _until_computing(services, lasting)
        [child] = worker.children(recursive=True)
        child.kill()
        failed = await _ended(services, lasting)
        assert failed.error is not None
        assert (failed.status, failed.attempt, failed.error.code) == ("failed", 1, "crashed")
        assert [letter.id for letter in await services.reporter.dead_letters(5, None)] == [lasting]
        assert await keeper.retry(lasting) == "failed"
        assert (await _ended(services, lasting)).status == "succeeded"
        assert await services.reporter.dead_letters(5, None) == []
        assert await _left(sql) == {endless, lasting}
    # It looks at once for what is to go.
    async with _worker(services, tmp_path, RETENTION_FITS="1"):

        async def is_cleared() -> bool:
            return await _left(sql) == {lasting}

        await _eventually(is_cleared)


# All at once.


class _Worker:
    """Does what a worker does with jobs, and ends attempts in every way they can end."""

    def __init__(self, services: Services, sql: Sql, draw: random.Random) -> None:
        self._attempts = Attempts(services.pool, most=2)
        self._sql = sql
        self._draw = draw

    async def work(self) -> None:
        """Fetch jobs and work at them, and at what may be begun along with them, until there is none."""
        [worker] = await self._sql("SELECT worker_id AS id FROM procrastinate_register_worker_v1()")
        while True:
            [job] = await self._sql("SELECT id, args FROM procrastinate_fetch_job_v2('{fits}', %s)", worker["id"])
            if job["id"] is None:
                return
            fit_id = UUID(job["args"]["fit_id"])
            for attempt in await self._attempts.begin_together(fit_id, job["id"], worker["id"], 2, 1 << 20):
                await self._end(attempt)

    async def _end(self, attempt: Attempt) -> None:
        await self._attempts.keep(attempt, FIRST)
        match self._draw.choice(("succeed", "fail", "cancel", "release", "again")):
            case "succeed":
                await self._attempts.succeed(attempt, SOLVED)
            case "fail":
                await self._attempts.fail(attempt, ERROR)
            case "cancel":
                if await self._attempts.is_to_stop(attempt):
                    await self._attempts.cancelled(attempt, None)
                else:
                    await self._attempts.release(attempt)
            case "release":
                await self._attempts.release(attempt)
            case "again":
                again = await self._attempts.begin(attempt.fit_id, attempt.job_id)
                if again is not None:
                    await self._end(again)


async def _wish(keeper: FitKeeper, fits: list[UUID], draw: random.Random, done: Counter[Any]) -> None:
    """Ask for one thing after the other, and count what was found."""
    for _ in range(60):
        wish, fit_id = draw.choice(("cancel", "delete", *["retry"] * 12)), draw.choice(fits)
        found = await getattr(keeper, wish)(fit_id)
        done[wish, found] += 1
        done[wish, found, fit_id] += 1


#: Each finds what must not be.
_WRONG = {
    "a fit in work without a job": """
        SELECT fit.id FROM fit WHERE status IN ('queued', 'running')
        AND NOT EXISTS (SELECT FROM procrastinate_jobs job WHERE job.id = fit.job_id)
    """,
    "a job that does nothing": """
        SELECT job.id FROM procrastinate_jobs job
        WHERE NOT EXISTS (SELECT FROM fit WHERE job_id = job.id AND fit.status IN ('queued', 'running'))
    """,
    "a dataset that no fit needs": "SELECT id FROM dataset WHERE id NOT IN (SELECT dataset_id FROM fit)",
    "parts of what failed": "SELECT ordinal FROM trajectory_block JOIN fit ON fit.id = fit_id WHERE status = 'failed'",
    "an end without its time": """
        SELECT id FROM fit WHERE (finished_at IS NULL) <> (status IN ('queued', 'running'))
    """,
    "an error without failure": "SELECT id FROM fit WHERE (error IS NULL) = (status = 'failed')",
    "a queued fit that is to be cancelled": """
        SELECT id FROM fit WHERE status = 'queued' AND cancel_requested_at IS NOT NULL
    """,
}


async def _assert_nothing_wrong(sql: Sql) -> None:
    assert {name: await sql(query) for name, query in _WRONG.items()} == {name: [] for name in _WRONG}


@pytest.mark.parametrize("seed", range(3))
async def test_fits_and_jobs_agree_whatever_is_asked_for_meanwhile(
    services: Services, keeper: FitKeeper, attempts: Attempts, job_of: JobOf, sql: Sql, seed: int
) -> None:
    draw, done = random.Random(seed), Counter[Any]()
    datasets = [Dataset.from_columns({"x": [1.0, 2.0, n], "y": [1.0, 3.0, 2.0]}) for n in range(5)]
    task = FitTask(Model(("x",), ("y",)), Exact())
    fits = [(await services.fits.submit(Asked(draw.choice(datasets), task, {}), fresh=True)).id for _ in range(24)]
    for fit_id in fits[::3]:
        attempt = await attempts.begin(fit_id, await job_of(fit_id))
        assert attempt is not None
        assert await attempts.fail(attempt, ERROR)
    workers = [_Worker(services, sql, draw) for _ in range(3)]
    recovery = Recovery(services.pool, most_attempts=2)
    clients = asyncio.gather(*(_wish(keeper, fits, draw, done) for _ in range(4)))
    while not clients.done():
        # To a recovery, workers whose heart does not beat are dead: fits are taken from them, too.
        await asyncio.gather(*(worker.work() for worker in workers), recovery.sweep(None, NOBODY))
    await clients
    await recovery.sweep(None, NOBODY)
    await _assert_nothing_wrong(sql)
    while await sql("SELECT FROM fit WHERE status IN ('queued', 'running')"):
        await workers[0].work()
        await recovery.sweep(None, NOBODY)
    await _assert_nothing_wrong(sql)
    statuses = {row["id"]: row["status"] for row in await sql("SELECT id, status FROM fit")}
    for fit_id in fits:
        deletions = sum(done["delete", status, fit_id] for status in ("queued", *FINISHED))
        assert deletions == (fit_id not in statuses)
        if done["cancel", "queued", fit_id]:
            assert statuses.get(fit_id, "cancelled") == "cancelled"
    assert done["retry", "failed"]
