"""Tiny fits that are begun together: which they are, and that each keeps its own fate."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from service.bootstrap import Services
from service.database.pool import transaction
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam
from service.fitting.model import Model
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import FitTask
from service.jobs.asked import Asked
from service.jobs.attempts import Attempt, Attempts
from service.jobs.ends import Ending
from service.jobs.messages import Solved
from service.jobs.records import FitError, FitRecord, FitStatus
from service.jobs.runner import FitRunner
from service.jobs.work import MOST_BYTES
from tests.jobs.conftest import JobOf, MakeWork, Sql
from tests.jobs.reports import report

pytestmark = pytest.mark.anyio

# No closed form reaches its end.
ENDLESS = Descent(optimizer=Adam(), epochs=10**11)

Ask = Callable[..., Awaitable[FitRecord]]
BeginWith = Callable[..., Awaitable[list[Attempt]]]


@pytest.fixture
def ask(services: Services) -> Ask:
    """Submits a fit of data of its own."""
    made = iter(range(1000))

    async def submitted(solver: Solver = Exact(), priority: int = 0) -> FitRecord:  # noqa: B008 - frozen
        dataset = Dataset.from_columns({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 3.0, 2.0, 5.0 + next(made)]})
        task = FitTask(Model(("x",), ("y",)), solver)
        return await services.fits.submit(Asked(dataset, task, {}, priority=priority))

    return submitted


@pytest.fixture
def begin_with(attempts: Attempts, job_of: JobOf, sql: Sql) -> BeginWith:
    """Begins a fit, with others, as a worker of its own."""

    async def begun(record: FitRecord, most_others: int = 31, most_bytes: int = MOST_BYTES) -> list[Attempt]:
        [worker] = await sql("SELECT worker_id AS id FROM procrastinate_register_worker_v1()")
        job = await job_of(record.id)
        await sql("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE id = %s", worker["id"], job)
        return await attempts.begin_together(record.id, job, worker["id"], most_others, most_bytes)

    return begun


def _ids(fits: Sequence[FitRecord]) -> list[Any]:
    return [fit.id for fit in fits]


async def _statuses(services: Services, fits: Sequence[FitRecord]) -> list[FitStatus]:
    found = [await services.fits.get(fit.id) for fit in fits]
    return [record.status for record in found if record is not None]


async def _until(services: Services, record: FitRecord, status: FitStatus) -> None:
    with services.notices.subscription(record.id) as changed:
        while await _statuses(services, [record]) != [status]:
            await changed.wait()
            changed.clear()


async def _until_put_back(services: Services, record: FitRecord) -> None:
    """Until it was begun and is queued again."""
    with services.notices.subscription(record.id) as changed:
        while (found := await services.fits.get(record.id)) and (found.status, found.version) != ("queued", 3):
            await changed.wait()
            changed.clear()


async def _make_tiny(sql: Sql, record: FitRecord) -> None:
    """As if it had been taken for one: how long a fit takes turns out when it is run."""
    await sql("UPDATE fit SET is_tiny = true WHERE id = %s", record.id)


async def test_they_are_begun_in_the_queues_order_with_their_data_and_jobs(
    services: Services, ask: Ask, begin_with: BeginWith, sql: Sql
) -> None:
    fits = [await ask(priority=priority) for priority in (0, 0, 5, -5, 5)]
    begun = await begin_with(fits[0])
    assert [attempt.fit_id for attempt in begun] == _ids([fits[0], fits[2], fits[4], fits[1], fits[3]])
    assert {attempt.number for attempt in begun} == {1}
    datasets = [attempt.dataset() for attempt in begun]
    assert [dataset.digest for dataset in datasets if dataset] == [attempt.dataset_id for attempt in begun]
    assert len({attempt.dataset_id for attempt in begun}) == 5
    assert await _statuses(services, fits) == ["running"] * 5
    jobs = await sql("SELECT id, status::text, worker_id FROM procrastinate_jobs")
    assert {job["id"] for job in jobs} == {attempt.job_id for attempt in begun}
    assert {(job["status"], job["worker_id"]) for job in jobs} == {("doing", jobs[0]["worker_id"])}


async def test_only_those_are_taken_along_that_are_free_and_tiny_and_at_their_first_attempt(
    services: Services, ask: Ask, begin_with: BeginWith, sql: Sql
) -> None:
    first, large, tried, unwanted, held, good = [await ask(solver) for solver in (Exact(), ENDLESS, *[Exact()] * 4)]
    await sql("UPDATE fit SET is_tiny = false WHERE id = %s", large.id)
    await sql("UPDATE fit SET attempt = 1 WHERE id = %s", tried.id)
    await sql("UPDATE fit SET cancel_requested_at = now() WHERE id = %s", unwanted.id)
    async with transaction(services.pool) as connection:
        await connection.execute("SELECT FROM fit WHERE id = %s FOR UPDATE", [held.id])
        begun = await begin_with(first)
    assert [attempt.fit_id for attempt in begun] == _ids([first, good])
    others = [large, tried, unwanted, held]
    assert await _statuses(services, others) == ["queued"] * 4
    # One that is not at its first attempt is alone, and so is one that is not tiny.
    assert [attempt.fit_id for attempt in await begin_with(tried)] == [tried.id]
    assert [attempt.fit_id for attempt in await begin_with(large)] == [large.id]


async def test_there_are_not_more_of_them_than_wanted_nor_more_bytes(ask: Ask, begin_with: BeginWith) -> None:
    fits = [await ask() for _ in range(7)]
    size = 2 * 4 * 8
    assert len(await begin_with(fits[0], most_others=2)) == 3
    assert len(await begin_with(fits[3], most_bytes=2 * size)) == 3


async def test_workers_share_them(ask: Ask, begin_with: BeginWith, job_of: JobOf, sql: Sql) -> None:
    fits = [await ask() for _ in range(24)]
    # As Procrastinate fetches them for the workers, before any begins.
    jobs = [await job_of(fit.id) for fit in fits[:4]]
    await sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = ANY(%s)", jobs)
    groups = await asyncio.gather(*(begin_with(fit, most_others=5) for fit in fits[:4]))
    begun = [attempt.fit_id for group in groups for attempt in group]
    assert len(begun) == len(set(begun))
    assert all(group[0].fit_id == fit.id for group, fit in zip(groups, fits, strict=False))
    assert set(_ids(fits[:4])) <= set(begun)


async def test_ends_are_written_together_and_each_within_its_own_fence(
    services: Services, attempts: Attempts, ask: Ask, begin_with: BeginWith, sql: Sql
) -> None:
    fits = [await ask() for _ in range(3)]
    solved, failed, lost = await begin_with(fits[0])
    assert await attempts.begin(lost.fit_id, lost.job_id) is not None
    error = FitError("internal", "It broke.")
    ends: list[tuple[Attempt, Ending]] = [(solved, Solved(report())), (failed, error), (lost, error)]
    assert await attempts.finish(ends) == {solved.fit_id, failed.fit_id}
    assert await _statuses(services, fits) == ["succeeded", "failed", "running"]
    assert [job["id"] for job in await sql("SELECT id FROM procrastinate_jobs")] == [lost.job_id]


async def test_those_that_go_back_keep_their_order_but_for_the_cancelled(
    services: Services, attempts: Attempts, ask: Ask, begin_with: BeginWith, job_of: JobOf
) -> None:
    fits = [await ask() for _ in range(4)]
    begun = await begin_with(fits[0])
    await services.keeper.cancel(fits[1].id)
    assert await attempts.release(*reversed(begun)) == set(_ids(fits))
    assert await _statuses(services, fits) == ["queued", "cancelled", "queued", "queued"]
    jobs = [await job_of(fit.id) for fit in (fits[0], *fits[2:])]
    assert jobs == sorted(jobs)
    assert [attempt.fit_id for attempt in await begin_with(fits[0])] == _ids([fits[0], *fits[2:]])


async def test_a_worker_works_at_all_of_them(
    services: Services, ask: Ask, make_work: MakeWork, runner: FitRunner, sql: Sql
) -> None:
    await runner.warm()
    fits = [await ask(solver) for solver in (Exact(), Descent(epochs=3), *[Exact()] * 8)]
    work = make_work()
    # Where the machine is slow, some go back to the queue.
    while left := await sql("SELECT id, job_id FROM fit WHERE status = 'queued' ORDER BY job_id"):
        await work(left[0]["id"], left[0]["job_id"])
    assert await _statuses(services, fits) == ["succeeded"] * 10
    assert await sql("SELECT DISTINCT attempt FROM fit") == [{"attempt": 1}]
    assert await services.fits.trajectory(fits[1].id) is not None
    assert await sql("SELECT id FROM procrastinate_jobs") == []
    assert work.jobs == frozenset()


async def test_one_that_is_slow_keeps_nobody_and_one_that_crashes_takes_nobody_along(
    services: Services, ask: Ask, make_work: MakeWork, job_of: JobOf, runner: FitRunner, sql: Sql
) -> None:
    await runner.warm()
    quick, slow, *others = [await ask(solver) for solver in (Exact(), ENDLESS, Exact(), Exact())]
    await _make_tiny(sql, slow)
    work = make_work()
    working = asyncio.create_task(work(quick.id, await job_of(quick.id)))
    for other in others:
        await _until_put_back(services, other)
    assert await _statuses(services, [quick, slow]) == ["succeeded", "running"]
    assert work.jobs == {await job_of(slow.id)}
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGKILL)
    while (await sql("SELECT attempt FROM fit WHERE id = %s", slow.id)) != [{"attempt": 2}]:
        assert not working.done()
    await services.keeper.cancel(slow.id)
    await working
    assert await _statuses(services, [slow, *others]) == ["cancelled", "queued", "queued"]
    while left := await sql("SELECT id, job_id FROM fit WHERE status = 'queued' ORDER BY job_id"):
        await work(left[0]["id"], left[0]["job_id"])
    found = [await services.fits.get(other.id) for other in others]
    assert [(record.status, record.attempt) for record in found if record] == [("succeeded", 1)] * 2


async def test_a_shutdown_in_the_middle_keeps_what_is_solved_and_puts_the_rest_back(
    services: Services, ask: Ask, make_work: MakeWork, job_of: JobOf, runner: FitRunner, sql: Sql
) -> None:
    await runner.warm()
    fits = [await ask(solver) for solver in (Exact(), ENDLESS, Exact())]
    await _make_tiny(sql, fits[1])
    working = asyncio.create_task(make_work()(fits[0].id, await job_of(fits[0].id)))
    await _until(services, fits[1], "running")
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    statuses = await _statuses(services, fits)
    assert statuses[0] in ("succeeded", "queued")
    assert statuses[1:] == ["queued", "queued"]
    jobs = await sql("SELECT status::text FROM procrastinate_jobs")
    assert jobs == [{"status": "todo"}] * statuses.count("queued")
    assert await sql("SELECT attempt FROM fit WHERE status = 'queued' AND attempt > 0") == []


_REFUSED = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('refusals') <= {most} AND NEW.request->>'refused' = 'true' THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $$
"""


@pytest.fixture
async def refuse(sql: Sql) -> Any:
    """Has the database refuse to write that certain fits succeeded, so many times, for a reason."""

    async def refused(code: str, most: int, record: FitRecord) -> None:
        await sql("CREATE SEQUENCE refusals")
        await sql(_REFUSED.format(code=code, most=most))
        await sql(
            "CREATE TRIGGER refuse BEFORE UPDATE ON fit FOR EACH ROW WHEN (NEW.status = 'succeeded')"
            " EXECUTE FUNCTION refuse()"
        )
        await sql("""UPDATE fit SET request = '{"refused": "true"}' WHERE id = %s""", record.id)

    yield refused
    await sql("DROP FUNCTION refuse CASCADE")
    await sql("DROP SEQUENCE refusals")


async def test_an_end_that_cannot_be_written_for_what_it_says_is_an_incident_of_its_own(
    services: Services, ask: Ask, make_work: MakeWork, job_of: JobOf, runner: FitRunner, refuse: Any
) -> None:
    await runner.warm()
    fits = [await ask() for _ in range(3)]
    await refuse("22003", 1000, fits[1])
    work = make_work()
    for fit in fits:
        await work(fit.id, await job_of(fit.id))
    assert await _statuses(services, fits) == ["succeeded", "failed", "succeeded"]
    found = await services.fits.get(fits[1].id)
    assert found is not None
    assert found.error is not None
    assert found.error.code == "internal"


@pytest.mark.parametrize("code", ["53100", "25006"])
async def test_ends_are_not_lost_while_the_database_takes_none(
    services: Services, ask: Ask, make_work: MakeWork, job_of: JobOf, runner: FitRunner, refuse: Any, code: str
) -> None:
    """Its disk is full, or it lets read only."""
    await runner.warm()
    fits = [await ask() for _ in range(2)]
    await refuse(code, 1, fits[1])
    work = make_work()
    for fit in fits:
        await work(fit.id, await job_of(fit.id))
    assert await _statuses(services, fits) == ["succeeded", "succeeded"]
