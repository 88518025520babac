"""Lost fits are found, whatever became of their job or its worker; fits in good hands are left alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import psycopg
import pytest

from service.bootstrap import Services
from service.jobs.attempts import Attempts
from service.jobs.heart import LOCKS, Heart
from service.jobs.records import FitRecord
from service.jobs.recovery import Recovery

pytestmark = pytest.mark.anyio

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[[], Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Register = Callable[[], Awaitable[int]]
Fetched = Callable[..., Awaitable[tuple[FitRecord, int, int]]]
NOBODY: frozenset[int] = frozenset()
PATIENCE = 20.0

_LOCKED = f"locktype = 'advisory' AND classid = {LOCKS}"
_PROCESS_ENDED = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE {_LOCKED}"

# What happens to a job that a worker fetched, and to that worker; each loses the fit. The second is the first trap of
# procrastinate issue 1518: the job is `doing` for ever, of a worker of which nothing is left to show that it is dead.
LOSSES = {
    "the worker's process ended": _PROCESS_ENDED,
    "the worker was pruned": f"WITH ended AS ({_PROCESS_ENDED}) DELETE FROM procrastinate_workers USING ended",
    "the worker is cut off": "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '16 s'",
    "the job is gone": "DELETE FROM procrastinate_jobs",
    "the job failed": "UPDATE procrastinate_jobs SET status = 'failed'",
    "the job was aborted": "UPDATE procrastinate_jobs SET status = 'aborted'",
    "the job succeeded without its fit": "UPDATE procrastinate_jobs SET status = 'succeeded'",
}


@pytest.fixture
def recovery(services: Services) -> Recovery:
    return Recovery(services.pool, most_attempts=3)


@pytest.fixture
async def register(database_url: str, sql: Sql) -> AsyncIterator[Register]:
    """Registers a worker whose heart has beaten just now, and beats no more."""
    async with AsyncExitStack() as stack:

        async def registered() -> int:
            [worker] = await sql("SELECT worker_id FROM procrastinate_register_worker_v1()")
            connection = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
            stack.push_async_callback(connection.close)
            await connection.execute("SELECT pg_advisory_lock_shared(%s, %s::int)", [LOCKS, worker["worker_id"]])
            return int(worker["worker_id"])

        yield registered


@pytest.fixture
def fetched(submit: Submit, attempts: Attempts, job_of: JobOf, sql: Sql, register: Register) -> Fetched:
    """Submits a fit, has a worker, or a new one, fetch its job and begin: the running fit, its job, the worker."""

    async def fetch(worker_id: int | None = None) -> tuple[FitRecord, int, int]:
        record = await submit()
        job_id = await job_of(record.id)
        worker_id = worker_id or await register()
        [job] = await sql("SELECT id FROM procrastinate_fetch_job_v2('{fits}', %s)", worker_id)
        assert job["id"] == job_id
        assert await attempts.begin(record.id, job_id) is not None
        return record, job_id, worker_id

    return fetch


async def _look_twice(recovery: Recovery) -> int:
    return sum([await recovery.sweep(None, NOBODY) for _ in range(2)])


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
    assert await _look_twice(recovery) == 1
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
    assert await _look_twice(recovery) == 1
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
    await sql(LOSSES["the worker is cut off"])
    assert await _look_twice(recovery) == 1
    assert await attempts.begin(record.id, job_id) is None


async def test_fits_in_good_hands_are_left_alone(
    services: Services, recovery: Recovery, submit: Submit, fetched: Fetched
) -> None:
    running, _, worker_id = await fetched()
    waiting = await submit()
    before = [await services.fits.get(fit.id) for fit in (running, waiting)]
    assert await _look_twice(recovery) == 0
    assert await recovery.sweep(worker_id + 1, NOBODY) == 0
    assert [await services.fits.get(fit.id) for fit in (running, waiting)] == before


async def test_a_job_that_a_live_worker_does_not_do_is_lost_at_the_second_look(
    services: Services, recovery: Recovery, fetched: Fetched
) -> None:
    """The second trap of procrastinate issue 1518: a worker that came again as itself beats for what it forgot."""
    record, _, worker_id = await fetched()
    assert await recovery.sweep(worker_id, NOBODY) == 0
    assert await recovery.sweep(worker_id, NOBODY) == 1
    assert await _status(services, record) == "queued"


async def test_what_a_worker_really_does_is_never_lost_to_itself(
    services: Services, recovery: Recovery, fetched: Fetched, sql: Sql
) -> None:
    record, job_id, worker_id = await fetched()
    await sql(LOSSES["the worker is cut off"])
    for _ in range(3):
        assert await recovery.sweep(worker_id, frozenset({job_id})) == 0
    assert await _status(services, record) == "running"


async def test_a_finished_fit_is_not_lost_and_its_old_job_is_cleared_away(
    services: Services, recovery: Recovery, fetched: Fetched, sql: Sql
) -> None:
    record, job_id, _ = await fetched()
    await sql("UPDATE fit SET status = 'succeeded', finished_at = now()")
    assert await _look_twice(recovery) == 0
    assert await sql("SELECT id FROM procrastinate_jobs") == [{"id": job_id}]
    await sql(_PROCESS_ENDED)
    assert await _look_twice(recovery) == 0
    assert await sql("SELECT id FROM procrastinate_jobs") == []
    assert await _status(services, record) == "succeeded"


async def test_the_job_of_a_fit_that_was_deleted_is_cleared_away(
    recovery: Recovery, fetched: Fetched, sql: Sql
) -> None:
    await fetched()
    await sql(_PROCESS_ENDED)
    await sql("DELETE FROM fit")
    assert await _look_twice(recovery) == 0
    assert await sql("SELECT id FROM procrastinate_jobs") == []


async def test_a_lost_fit_that_was_to_be_cancelled_is(
    services: Services, recovery: Recovery, fetched: Fetched, sql: Sql
) -> None:
    record, _, _ = await fetched()
    await sql("UPDATE fit SET cancel_requested_at = now()")
    await sql(_PROCESS_ENDED)
    assert await _look_twice(recovery) == 1
    found = await services.fits.get(record.id)
    assert found is not None
    assert (found.status, found.report, found.error) == ("cancelled", None, None)
    assert found.finished_at is not None
    assert await sql("SELECT id FROM procrastinate_jobs") == []


async def test_all_that_one_worker_did_is_recovered_by_one_sweep_in_the_old_order(
    services: Services, recovery: Recovery, fetched: Fetched, register: Register, sql: Sql
) -> None:
    worker_id = await register()
    group = [(await fetched(worker_id))[0] for _ in range(30)]
    await sql("UPDATE fit SET priority = 5 WHERE id = %s", group[20].id)
    await sql(_PROCESS_ENDED)
    assert await recovery.sweep(None, NOBODY) == 0
    assert await recovery.sweep(None, NOBODY) == 30
    jobs = await sql("SELECT (args->>'fit_id')::uuid AS fit_id FROM procrastinate_jobs ORDER BY priority DESC, id")
    expected = [group[20], *group[:20], *group[21:]]
    assert [job["fit_id"] for job in jobs] == [record.id for record in expected]
    assert {await _status(services, record) for record in group} == {"queued"}


async def test_fits_that_were_lost_together_are_alone_the_next_time(
    recovery: Recovery,
    submit: Submit,
    fetched: Fetched,
    register: Register,
    attempts: Attempts,
    job_of: JobOf,
    sql: Sql,
) -> None:
    """One of them may bring down every worker: it is not to use up the attempts of the others."""

    async def begun_with(record: FitRecord) -> list[UUID]:
        job_id = await job_of(record.id)
        return [one.fit_id for one in await attempts.begin_together(record.id, job_id, None, 31, 1 << 20)]

    worker_id = await register()
    group = [(await fetched(worker_id))[0] for _ in range(3)]
    await sql(_PROCESS_ENDED)
    assert await _look_twice(recovery) == 3
    fresh = [await submit() for _ in range(3)]
    for record in group:
        assert await begun_with(record) == [record.id]
    assert await begun_with(fresh[0]) == [record.id for record in fresh]


async def test_nobody_is_taken_for_dead_whom_the_database_forgot(
    services: Services, recovery: Recovery, fetched: Fetched, sql: Sql, database_url: str
) -> None:
    """As after a restart of the database: all locks are gone, and every beat is old."""
    _, _, worker_id = await fetched()
    async with Heart(database_url, lambda: worker_id).beating():
        await _until_alive(services)
        await sql(_PROCESS_ENDED)
        await sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        await recovery.sweep(None, NOBODY)
        await _until_alive(services)
        assert await _look_twice(recovery) == 0


async def _until_alive(services: Services) -> None:
    async with asyncio.timeout(PATIENCE):
        while await services.queue.listening_workers() != 1:  # noqa: ASYNC110 - the database is waited for
            await asyncio.sleep(0.02)


async def test_of_dead_workers_nothing_stays_in_the_end(
    recovery: Recovery, fetched: Fetched, register: Register, sql: Sql
) -> None:
    _, _, at_work = await fetched()
    await register()
    await sql(_PROCESS_ENDED)
    await sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '2 hours'")
    alive = await register()
    await recovery.sweep(None, NOBODY)
    assert await sql("SELECT id FROM procrastinate_workers ORDER BY id") == [{"id": at_work}, {"id": alive}]


async def test_many_workers_recover_a_fit_once(services: Services, submit: Submit, sql: Sql) -> None:
    for _ in range(5):
        await submit()
    await sql("DELETE FROM procrastinate_jobs")
    sweepers = [Recovery(services.pool, 3) for _ in range(5)]
    found = await asyncio.gather(*(sweeper.sweep(None, NOBODY) for sweeper in sweepers))
    assert sum(found) == 5
    assert len(await sql("SELECT id FROM procrastinate_jobs")) == 5
