"""Lost fits are found, whatever became of their job or its worker; fits in good hands are left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from service.bootstrap import Services
from service.jobs.attempts import Attempts
from service.jobs.records import FitRecord
from service.jobs.recovery import Recovery

pytestmark = pytest.mark.anyio

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[[], Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Fetched = Callable[[], Awaitable[tuple[FitRecord, int, int]]]
NOBODY: frozenset[int] = frozenset()

# What happens to a job that a worker fetched, and to that worker; each loses the fit.
LOSSES = {
    "the worker's heart stopped": "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'",
    "the worker was pruned": "DELETE FROM procrastinate_workers",
    "the job is gone": "DELETE FROM procrastinate_jobs",
    "the job failed": "UPDATE procrastinate_jobs SET status = 'failed'",
    "the job was aborted": "UPDATE procrastinate_jobs SET status = 'aborted'",
    "the job succeeded without its fit": "UPDATE procrastinate_jobs SET status = 'succeeded'",
}


@pytest.fixture
def recovery(services: Services) -> Recovery:
    return Recovery(services.pool, services.queue, most_attempts=3)


@pytest.fixture
def fetched(submit: Submit, attempts: Attempts, job_of: JobOf, sql: Sql) -> Fetched:
    """Submits a fit, has a new worker fetch its job and begin: the running fit, its job, the worker."""

    async def fetch() -> tuple[FitRecord, int, int]:
        record = await submit()
        job_id = await job_of(record.id)
        [worker] = await sql("SELECT worker_id FROM procrastinate_register_worker_v1()")
        [job] = await sql("SELECT id FROM procrastinate_fetch_job_v2('{fits}', %s)", worker["worker_id"])
        assert job["id"] == job_id
        assert await attempts.begin(record.id, job_id) is not None
        return record, job_id, worker["worker_id"]

    return fetch


async def _status(services: Services, record: FitRecord) -> str:
    found = await services.fits.get(record.id)
    assert found is not None
    return found.status


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_lost_fit_is_queued_again(
    services: Services, recovery: Recovery, fetched: Fetched, job_of: JobOf, sql: Sql, loss: str
) -> None:
    record, job_id, _ = await fetched()
    await sql(LOSSES[loss])
    assert await recovery.sweep(None, NOBODY) == 1
    assert await _status(services, record) == "queued"
    assert await job_of(record.id) != job_id
    assert await sql("SELECT id, status::text FROM procrastinate_jobs") == [
        {"id": await job_of(record.id), "status": "todo"}
    ]
    assert await recovery.sweep(None, NOBODY) == 0


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_fit_that_is_lost_too_often_fails_with_the_reason(
    services: Services, recovery: Recovery, fetched: Fetched, sql: Sql, loss: str
) -> None:
    record, _, _ = await fetched()
    await sql("UPDATE fit SET attempt = 3")
    await sql(LOSSES[loss])
    assert await recovery.sweep(None, NOBODY) == 1
    found = await services.fits.get(record.id)
    assert found is not None
    assert found.error is not None
    assert (found.status, found.error.code) == ("failed", "crashed")
    assert "3 attempts" in found.error.message
    assert await sql("SELECT id FROM procrastinate_jobs WHERE status IN ('todo', 'doing')") == []


async def test_a_queued_fit_without_its_job_gets_one(
    services: Services, recovery: Recovery, submit: Submit, sql: Sql
) -> None:
    record = await submit()
    await sql("DELETE FROM procrastinate_jobs")
    assert await recovery.sweep(None, NOBODY) == 1
    assert await _status(services, record) == "queued"
    assert await sql("SELECT status::text FROM procrastinate_jobs") == [{"status": "todo"}]


async def test_the_worker_that_was_taken_for_dead_comes_too_late(
    recovery: Recovery, fetched: Fetched, attempts: Attempts, sql: Sql
) -> None:
    record, job_id, _ = await fetched()
    await sql(LOSSES["the worker's heart stopped"])
    await recovery.sweep(None, NOBODY)
    assert await attempts.begin(record.id, job_id) is None


async def test_fits_in_good_hands_are_left_alone(
    services: Services, recovery: Recovery, submit: Submit, fetched: Fetched
) -> None:
    running, _, worker_id = await fetched()
    waiting = await submit()
    before = [await services.fits.get(fit.id) for fit in (running, waiting)]
    assert await recovery.sweep(None, NOBODY) == 0
    assert await recovery.sweep(worker_id + 1, NOBODY) == 0
    assert [await services.fits.get(fit.id) for fit in (running, waiting)] == before


async def test_a_job_that_a_live_worker_does_not_do_is_lost_at_the_second_look(
    services: Services, recovery: Recovery, fetched: Fetched
) -> None:
    record, _, worker_id = await fetched()
    assert await recovery.sweep(worker_id, NOBODY) == 0
    assert await recovery.sweep(worker_id, NOBODY) == 1
    assert await _status(services, record) == "queued"


async def test_what_a_worker_really_does_is_never_lost_to_itself(
    services: Services, recovery: Recovery, fetched: Fetched, sql: Sql
) -> None:
    record, job_id, worker_id = await fetched()
    await sql(LOSSES["the worker's heart stopped"])
    for _ in range(3):
        assert await recovery.sweep(worker_id, frozenset({job_id})) == 0
    assert await _status(services, record) == "running"


async def test_a_finished_fit_is_not_lost_and_its_old_job_is_cleared_away(
    services: Services, recovery: Recovery, fetched: Fetched, sql: Sql
) -> None:
    record, job_id, _ = await fetched()
    await sql("UPDATE fit SET status = 'succeeded', finished_at = now()")
    assert await recovery.sweep(None, NOBODY) == 0
    assert await sql("SELECT id FROM procrastinate_jobs") == [{"id": job_id}]
    await sql("UPDATE fit SET finished_at = now() - interval '2 minutes'")
    assert await recovery.sweep(None, NOBODY) == 0
    assert await sql("SELECT id FROM procrastinate_jobs") == []
    assert await _status(services, record) == "succeeded"


async def test_many_workers_recover_a_fit_once(services: Services, submit: Submit, sql: Sql) -> None:
    for _ in range(5):
        await submit()
    await sql("DELETE FROM procrastinate_jobs")
    sweepers = [Recovery(services.pool, services.queue, 3) for _ in range(5)]
    found = await asyncio.gather(*(sweeper.sweep(None, NOBODY) for sweeper in sweepers))
    assert sum(found) == 5
    assert len(await sql("SELECT id FROM procrastinate_jobs")) == 5
