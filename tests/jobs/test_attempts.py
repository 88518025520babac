"""Attempts, and the fences between them, on a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from service.bootstrap import Services
from service.database.pool import transaction
from service.jobs.attempts import Attempt, Attempts
from service.jobs.messages import Part, Solved
from service.jobs.records import FitError, FitProgress, FitRecord, TrajectoryExtent
from tests.jobs.reports import report

pytestmark = pytest.mark.anyio

PROGRESS = FitProgress(5, 10, 1, float("inf"))
ERROR = FitError("internal", "It broke.")
FIRST = Part(0, b"account", 3, 0, 4, np.arange(24, dtype=np.uint8))
LAST = Part(1, None, 2, 8, 10, np.arange(16, dtype=np.uint8))
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'trajectory_block'"
SOLVED = Solved(report(), TrajectoryExtent(5, 10), LAST, PROGRESS, b"standing")
CHANGES: dict[str, Callable[[Attempts, Attempt], Awaitable[object]]] = {
    "progress": lambda attempts, attempt: attempts.progress(attempt, PROGRESS),
    "succeed": lambda attempts, attempt: attempts.succeed(attempt, SOLVED),
    "fail": lambda attempts, attempt: attempts.fail(attempt, ERROR),
    "release": lambda attempts, attempt: attempts.release(attempt),
}

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[[], Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def begin(attempts: Attempts, submit: Submit, job_of: JobOf) -> Callable[[], Awaitable[Attempt]]:
    """Submits a fit and begins the first attempt at it."""

    async def begun() -> Attempt:
        record = await submit()
        attempt = await attempts.begin(record.id, await job_of(record.id))
        assert attempt is not None
        return attempt

    return begun


Begin = Callable[[], Awaitable[Attempt]]


async def _read(services: Services, attempt: Attempt) -> FitRecord:
    record = await services.fits.get(attempt.fit_id)
    assert record is not None
    return record


async def test_a_begun_fit_runs(services: Services, begin: Begin) -> None:
    record = await _read(services, await begin())
    assert (record.status, record.attempt, record.version) == ("running", 1, 2)
    assert record.started_at is not None


async def test_the_next_attempt_keeps_the_first_start(services: Services, attempts: Attempts, begin: Begin) -> None:
    first = await begin()
    assert await attempts.progress(first, PROGRESS)
    before = await _read(services, first)
    second = await attempts.begin(first.fit_id, first.job_id)
    assert second is not None
    after = await _read(services, second)
    assert (after.attempt, after.progress, after.started_at) == (2, None, before.started_at)
    assert after.version > before.version


async def test_there_are_no_more_attempts_than_allowed(attempts: Attempts, begin: Begin) -> None:
    attempt = await begin()
    numbers = [attempt.number]
    while again := await attempts.begin(attempt.fit_id, attempt.job_id):
        numbers.append(again.number)
    assert numbers == [1, 2, 3]


async def test_another_job_cannot_begin_the_fit(attempts: Attempts, begin: Begin) -> None:
    attempt = await begin()
    assert await attempts.begin(attempt.fit_id, attempt.job_id + 1) is None


@pytest.mark.parametrize("change", CHANGES)
async def test_a_current_attempt_changes_the_fit(
    services: Services, attempts: Attempts, begin: Begin, change: str
) -> None:
    attempt = await begin()
    before = await _read(services, attempt)
    assert await CHANGES[change](attempts, attempt)
    assert (await _read(services, attempt)).version > before.version


@pytest.mark.parametrize("change", CHANGES)
async def test_a_late_worker_changes_nothing(
    services: Services, attempts: Attempts, begin: Begin, sql: Sql, change: str
) -> None:
    late = await begin()
    assert await attempts.begin(late.fit_id, late.job_id) is not None
    before = await _read(services, late)
    assert not await CHANGES[change](attempts, late)
    assert await _read(services, late) == before
    assert await sql("SELECT 1 FROM trajectory_block WHERE fit_id = %s", late.fit_id) == []


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("ending", ["succeed", "fail"])
async def test_a_finished_fit_stays_as_it_is(
    services: Services, attempts: Attempts, begin: Begin, ending: str, change: str
) -> None:
    attempt = await begin()
    assert await CHANGES[ending](attempts, attempt)
    before = await _read(services, attempt)
    assert not await CHANGES[change](attempts, attempt)
    assert await _read(services, attempt) == before


@pytest.mark.parametrize("change", CHANGES)
async def test_who_released_a_fit_has_no_say_in_its_next_attempt(
    services: Services, attempts: Attempts, begin: Begin, job_of: JobOf, change: str
) -> None:
    late = await begin()
    assert await attempts.release(late)
    current = await attempts.begin(late.fit_id, await job_of(late.fit_id))
    assert current is not None
    assert current.number == late.number
    before = await _read(services, late)
    assert not await CHANGES[change](attempts, late)
    assert await _read(services, late) == before


async def _parts(sql: Sql) -> list[tuple[Any, ...]]:
    columns = ("ordinal", "account", "rows", "first_step", "last_step", "body")
    rows = await sql(f"SELECT {', '.join(columns)} FROM trajectory_block ORDER BY ordinal")
    return [tuple(row[name] for name in columns) for row in rows]


def _stored(part: Part) -> tuple[Any, ...]:
    return (part.ordinal, part.account, part.rows, part.first_step, part.last_step, part.body.tobytes())


async def test_success_keeps_report_progress_and_trajectory(
    services: Services, attempts: Attempts, begin: Begin, sql: Sql
) -> None:
    attempt = await begin()
    assert await attempts.keep(attempt, FIRST)
    assert await attempts.succeed(attempt, SOLVED)
    record = await _read(services, attempt)
    assert (record.status, record.report, record.progress) == ("succeeded", SOLVED.report, PROGRESS)
    assert record.trajectory == TrajectoryExtent(5, 10)
    assert record.finished_at is not None
    assert await _parts(sql) == [_stored(FIRST), _stored(LAST)]
    assert await services.fits.end_state(record.id) == b"standing"


async def test_a_part_that_may_have_been_stored_is_stored_once(attempts: Attempts, begin: Begin, sql: Sql) -> None:
    attempt = await begin()
    for _ in range(2):
        assert await attempts.keep(attempt, FIRST)
    assert await _parts(sql) == [_stored(FIRST)]


async def test_a_new_attempt_begins_without_the_parts_of_the_last(attempts: Attempts, begin: Begin, sql: Sql) -> None:
    first = await begin()
    assert await attempts.keep(first, FIRST)
    assert await attempts.keep(first, LAST)
    assert await attempts.begin(first.fit_id, first.job_id) is not None
    assert await _parts(sql) == []


@pytest.mark.parametrize("ending", ["succeed", "fail", "release"])
async def test_a_lost_attempts_part_is_never_stored(attempts: Attempts, begin: Begin, sql: Sql, ending: str) -> None:
    late = await begin()
    assert await CHANGES[ending](attempts, late)
    before = await _parts(sql)
    assert not await attempts.keep(late, FIRST)
    assert await _parts(sql) == before


async def test_a_part_that_comes_while_the_fit_is_taken_away_waits_and_is_not_stored(
    services: Services, attempts: Attempts, begin: Begin, sql: Sql
) -> None:
    late = await begin()
    async with transaction(services.pool) as connection:
        await connection.execute("UPDATE fit SET attempt = attempt + 1 WHERE id = %s", [late.fit_id])
        keeping = asyncio.create_task(attempts.keep(late, FIRST))
        while not await sql(WAITING):
            assert not keeping.done()
    assert not await keeping
    assert await _parts(sql) == []


async def test_failure_forgets_what_was_written_down(attempts: Attempts, begin: Begin, sql: Sql) -> None:
    attempt = await begin()
    assert await attempts.keep(attempt, FIRST)
    assert await attempts.fail(attempt, ERROR)
    assert await _parts(sql) == []


async def test_failure_keeps_its_reason(services: Services, attempts: Attempts, begin: Begin) -> None:
    attempt = await begin()
    assert await attempts.fail(attempt, ERROR)
    record = await _read(services, attempt)
    assert (record.status, record.error) == ("failed", ERROR)
    assert record.finished_at is not None


async def test_a_released_fit_waits_with_a_new_job_and_its_attempt_back(
    services: Services, attempts: Attempts, begin: Begin, job_of: JobOf, sql: Sql
) -> None:
    attempt = await begin()
    assert await attempts.release(attempt)
    record = await _read(services, attempt)
    assert (record.status, record.attempt, record.progress) == ("queued", 0, None)
    job_id = await job_of(attempt.fit_id)
    assert job_id != attempt.job_id
    assert await sql("SELECT status::text FROM procrastinate_jobs WHERE id = %s", job_id) == [{"status": "todo"}]
