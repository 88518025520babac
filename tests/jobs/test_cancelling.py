"""Fits that are cancelled, or out of time, in a real child: stopped where it listens, killed where it does not."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import psutil
import pytest

from service.bootstrap import Services
from service.fitting.descent.optimizers import Adam
from service.fitting.solver import Descent, Exact, Solver, Stop
from service.fitting.trajectory import Trajectory
from service.jobs.attempts import Attempts
from service.jobs.messages import Solved
from service.jobs.records import FitRecord
from service.jobs.runner import FitRunner
from service.jobs.work import Limits
from tests.jobs.conftest import JobOf, MakeWork, Sql, Submit
from tests.jobs.reports import report

pytestmark = pytest.mark.anyio

# No closed form reaches their end.
ENDLESS = Descent(optimizer=Adam(), epochs=10**11)
#: By the name of the engine that takes their steps.
ENDLESS_BY_ENGINE = {
    "numpy_statistics": ENDLESS,
    "numpy_rows": Descent(epochs=10**11, batch_size=2, shuffle=True),
    "tensorflow_xla": Descent(backend="tensorflow", optimizer=Adam(), epochs=10**10),
}
#: Where a child has to compile its loops first, even a descent is late.
PATIENT = Limits(3600.0, 600.0)
IMPATIENT = Limits(3600.0, 0.1)


@dataclass(frozen=True)
class Begun:
    """A fit that a child computes, and the task that ends with it."""

    record: FitRecord
    working: "asyncio.Task[None]"
    pid: int


Begin = Callable[..., AbstractAsyncContextManager[Begun]]


@pytest.fixture
def begin(services: Services, make_work: MakeWork, submit: Submit, runner: FitRunner, job_of: JobOf) -> Begin:
    """Submits a fit, and has it worked at until it computes; at the end of the context it is over."""

    @asynccontextmanager
    async def computing(limits: Limits, solver: Solver = ENDLESS) -> AsyncIterator[Begun]:
        record = await submit(solver)
        working = asyncio.create_task(make_work(limits)(record.id, await job_of(record.id)))
        with services.notices.subscription(record.id) as changed:
            working.add_done_callback(lambda _: changed.set())
            while (await _read(services, record)).progress is None and not working.done():
                await changed.wait()
                changed.clear()
        assert runner.pid is not None
        yield Begun(record, working, runner.pid)
        await working

    return computing


async def _read(services: Services, record: FitRecord) -> FitRecord:
    found = await services.fits.get(record.id)
    assert found is not None
    return found


async def _works(make_work: MakeWork, services: Services, submit: Submit, job_of: JobOf) -> bool:
    """Whether the next fit succeeds."""
    record = await submit(Exact())
    await make_work()(record.id, await job_of(record.id))
    return (await _read(services, record)).status == "succeeded"


@pytest.mark.parametrize("engine", ENDLESS_BY_ENGINE)
async def test_a_compiled_loop_is_left_with_what_it_had_come_to(
    services: Services, begin: Begin, runner: FitRunner, sql: Sql, engine: str
) -> None:
    async with begin(PATIENT, ENDLESS_BY_ENGINE[engine]) as begun:
        assert await services.keeper.cancel(begun.record.id) == "running"
    assert runner.pid == begun.pid
    found = await _read(services, begun.record)
    assert found.report is not None
    assert found.progress is not None
    outcome = found.report.outcome
    assert (found.status, found.attempt, found.error) == ("cancelled", 1, None)
    assert (found.report.engine, outcome.kind) == (engine, "cancelled")
    assert outcome.steps == found.progress.steps_done > 0
    assert found.report.coefficients
    trajectory = await services.fits.trajectory(begun.record.id)
    assert isinstance(trajectory, Trajectory)
    assert trajectory.total_steps == outcome.steps
    assert await services.fits.end_state(begun.record.id) is not None
    assert await sql("SELECT digest FROM fit") == [{"digest": None}]
    assert await sql("SELECT id FROM procrastinate_jobs") == []


async def test_a_child_that_does_not_listen_is_killed_and_what_is_stored_stays(
    services: Services, begin: Begin, runner: FitRunner, make_work: MakeWork, submit: Submit, job_of: JobOf, sql: Sql
) -> None:
    async with begin(IMPATIENT) as begun:
        before = await sql("SELECT ordinal FROM trajectory_glimpse ORDER BY 1")
        os.kill(begun.pid, signal.SIGSTOP)
        await services.keeper.cancel(begun.record.id)
    assert not psutil.pid_exists(begun.pid)
    assert runner.pid not in (None, begun.pid)
    found = await _read(services, begun.record)
    assert (found.status, found.attempt, found.report, found.error) == ("cancelled", 1, None, None)
    assert found.progress is not None
    after = await sql("SELECT ordinal FROM trajectory_glimpse ORDER BY 1")
    assert after[: len(before)] == before
    assert await _works(make_work, services, submit, job_of)


async def test_a_fit_whose_child_dies_while_it_is_cancelled_is_not_tried_again(
    services: Services, begin: Begin
) -> None:
    async with begin(PATIENT) as begun:
        os.kill(begun.pid, signal.SIGSTOP)
        await services.keeper.cancel(begun.record.id)
        os.kill(begun.pid, signal.SIGKILL)
    found = await _read(services, begun.record)
    assert (found.status, found.attempt, found.report) == ("cancelled", 1, None)


async def test_a_cancel_that_was_not_heard_is_seen_when_the_worker_listens_again(
    services: Services, begin: Begin, sql: Sql
) -> None:
    async with begin(PATIENT) as begun:
        await sql("UPDATE fit SET cancel_requested_at = now() WHERE id = %s", begun.record.id)
        await sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert (await _read(services, begun.record)).status == "cancelled"


async def test_a_fit_that_is_to_be_cancelled_is_never_begun(
    services: Services, make_work: MakeWork, submit: Submit, job_of: JobOf, sql: Sql
) -> None:
    record = await submit()
    await sql("UPDATE fit SET cancel_requested_at = now()")
    await make_work()(record.id, await job_of(record.id))
    found = await _read(services, record)
    assert (found.status, found.attempt, found.version) == ("cancelled", 0, 2)
    assert found.finished_at is not None
    assert await sql("SELECT id FROM procrastinate_jobs") == []


async def test_a_fit_that_is_to_be_cancelled_does_not_go_back_into_the_queue(
    services: Services, attempts: Attempts, submit: Submit, job_of: JobOf, sql: Sql
) -> None:
    record = await submit()
    attempt = await attempts.begin(record.id, await job_of(record.id))
    assert attempt is not None
    assert await services.keeper.cancel(record.id) == "running"
    assert await attempts.release(attempt) == {record.id}
    found = await _read(services, record)
    assert (found.status, found.attempt) == ("cancelled", 1)
    assert await sql("SELECT id FROM procrastinate_jobs") == []


async def test_a_fit_that_was_solved_before_it_heard_of_the_cancel_succeeds(
    services: Services, attempts: Attempts, submit: Submit, job_of: JobOf
) -> None:
    record = await submit()
    attempt = await attempts.begin(record.id, await job_of(record.id))
    assert attempt is not None
    await services.keeper.cancel(record.id)
    assert await attempts.succeed(attempt, Solved(report()))
    assert (await _read(services, record)).status == "succeeded"
    assert await services.keeper.cancel(record.id) == "succeeded"


async def test_a_cancelled_fit_may_have_come_to_nothing(
    services: Services, attempts: Attempts, submit: Submit, job_of: JobOf, sql: Sql
) -> None:
    record = await submit()
    attempt = await attempts.begin(record.id, await job_of(record.id))
    assert attempt is not None
    assert await attempts.cancelled(attempt, None)
    found = await _read(services, record)
    assert (found.status, found.report, found.error) == ("cancelled", None, None)
    assert found.finished_at is not None
    assert not await attempts.cancelled(attempt, Solved(report()))
    assert await sql("SELECT digest FROM fit") == [{"digest": None}]


@pytest.mark.parametrize(("allowed", "own", "words"), [(0.5, None, "0.5 s are"), (60.0, 0.25, "0.25 s are")])
async def test_the_shortest_limit_ends_a_descent_with_what_it_had_come_to(
    services: Services, begin: Begin, runner: FitRunner, sql: Sql, allowed: float, own: float | None, words: str
) -> None:
    async with begin(Limits(allowed, 600.0), replace(ENDLESS, stop=Stop(max_seconds=own))) as begun:
        pass
    assert runner.pid == begun.pid
    found = await _read(services, begun.record)
    assert found.report is not None
    assert (found.status, found.report.outcome.kind) == ("succeeded", "time_limit")
    assert f"s of descent, where {words} allowed" in found.report.outcome.message
    assert await sql("SELECT digest FROM fit") == [{"digest": None}]


async def test_a_child_that_is_out_of_time_and_does_not_listen_is_killed_for_good(
    services: Services, make_work: MakeWork, submit: Submit, runner: FitRunner, job_of: JobOf
) -> None:
    await runner.warm()
    pid = runner.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    record = await submit()
    await make_work(Limits(0.2, 0.1))(record.id, await job_of(record.id))
    assert not psutil.pid_exists(pid)
    found = await _read(services, record)
    assert found.error is not None
    assert (found.status, found.attempt, found.error.code) == ("failed", 1, "time_limit")
    assert "0.2 s, the most that this server allows" in found.error.message
    assert await _works(make_work, services, submit, job_of)
