"""A fit from the queue to its end, in a real child, through crashes, shutdowns and outages."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import numpy as np
import psutil
import pytest
from psycopg import OperationalError

from service.bootstrap import Services
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam
from service.fitting.fit import fit
from service.fitting.model import Model
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import Collector, FitTask
from service.fitting.trajectory import Trajectory
from service.jobs.asked import Asked
from service.jobs.attempts import Attempts
from service.jobs.records import FitRecord
from service.jobs.runner import FitRunner
from tests.jobs.conftest import MakeWork

pytestmark = pytest.mark.anyio

# No closed form reaches their end.
ENDLESS = Descent(optimizer=Adam(), epochs=10**11)
SECONDS_LONG = Descent(optimizer=Adam(), epochs=5 * 10**6)

EVERY_STEP = Recording("step", limit=10**6)
#: Four parts of a trajectory.
LONG = FitTask(Model(("x",), ("y",)), Descent(optimizer=Adam(), epochs=400_000), recording=EVERY_STEP)

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[[Solver], Awaitable[FitRecord]]
Work = Callable[[FitRecord], Coroutine[Any, Any, None]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def work(make_work: MakeWork, job_of: JobOf) -> Work:
    """Works at a fit's own job, as the queue would have it done."""
    body = make_work()

    async def work_at(record: FitRecord) -> None:
        await body(record.id, await job_of(record.id))

    return work_at


async def _read(services: Services, record: FitRecord) -> FitRecord:
    found = await services.fits.get(record.id)
    assert found is not None
    return found


async def _until_computing(services: Services, record: FitRecord, attempt: int) -> None:
    with services.notices.subscription(record.id) as changed:
        while True:
            found = await _read(services, record)
            if found.attempt == attempt and found.progress is not None:
                return
            await changed.wait()
            changed.clear()


async def _kill_in_attempts(services: Services, record: FitRecord, runner: FitRunner, attempts: int) -> None:
    for attempt in range(1, attempts + 1):
        await _until_computing(services, record, attempt)
        assert runner.pid is not None
        os.kill(runner.pid, signal.SIGKILL)


async def test_a_fit_succeeds(services: Services, work: Work, submit: Submit) -> None:
    record = await submit(Descent(epochs=3))
    await work(record)
    found = await _read(services, record)
    assert (found.status, found.attempt, found.error) == ("succeeded", 1, None)
    assert found.report is not None
    assert found.report.outcome.steps == 3
    assert await services.fits.trajectory(record.id) is not None


async def test_a_crash_is_tried_again(services: Services, work: Work, submit: Submit, runner: FitRunner) -> None:
    record = await submit(SECONDS_LONG)
    await asyncio.gather(work(record), _kill_in_attempts(services, record, runner, 1))
    found = await _read(services, record)
    assert (found.status, found.attempt, found.error) == ("succeeded", 2, None)


async def test_three_crashes_are_the_end(services: Services, work: Work, submit: Submit, runner: FitRunner) -> None:
    record = await submit(ENDLESS)
    await asyncio.gather(work(record), _kill_in_attempts(services, record, runner, 3))
    found = await _read(services, record)
    assert found.error is not None
    assert (found.status, found.attempt, found.error.code) == ("failed", 3, "crashed")
    assert "SIGKILL" in found.error.message
    assert runner.pid is None


async def _submit_task(services: Services, dataset: Dataset, task: FitTask) -> FitRecord:
    return await services.fits.submit(Asked(dataset, task, {}))


async def test_a_refused_problem_fails_with_its_place(services: Services, work: Work, dataset: Dataset) -> None:
    task = FitTask(Model(("x",), ("y",), intercept=False), Exact(), Scaling("minmax"))
    record = await _submit_task(services, dataset, task)
    await work(record)
    found = await _read(services, record)
    assert found.error is not None
    assert (found.status, found.attempt, found.error.code) == ("failed", 1, "invalid")
    assert found.error.message.startswith("/scaling/features: ")


async def test_a_failure_inside_is_an_incident_whose_reason_only_the_log_has(
    services: Services, work: Work, dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    record = await _submit_task(services, dataset, FitTask(Model(("absent",), ("y",)), Exact()))
    await work(record)
    found = await _read(services, record)
    assert found.error is not None
    assert (found.status, found.attempt, found.error.code) == ("failed", 1, "internal")
    assert "Traceback" not in found.error.message
    incident = found.error.message.rstrip(".").split()[-1]
    [entry] = [entry for entry in caplog.records if incident in entry.message]
    assert "absent" in (entry.exc_text or "") or "ValueError" in (entry.exc_text or "")


async def test_a_shutdown_puts_the_fit_back(
    services: Services, work: Work, submit: Submit, runner: FitRunner, sql: Sql
) -> None:
    record = await submit(ENDLESS)
    working = asyncio.create_task(work(record))
    await _until_computing(services, record, 1)
    pid = runner.pid
    assert pid is not None
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    found = await _read(services, record)
    assert (found.status, found.attempt, found.progress) == ("queued", 0, None)
    assert not psutil.pid_exists(pid)
    [job] = await sql("SELECT j.status::text FROM fit JOIN procrastinate_jobs j ON j.id = fit.job_id")
    assert job["status"] == "todo"


async def test_a_worker_that_lost_its_fit_stops_computing(
    services: Services, work: Work, submit: Submit, runner: FitRunner, attempts: Attempts, job_of: JobOf
) -> None:
    record = await submit(ENDLESS)
    working = asyncio.create_task(work(record))
    await _until_computing(services, record, 1)
    lost = runner.pid
    assert await attempts.begin(record.id, await job_of(record.id)) is not None
    await working
    assert runner.pid != lost
    assert ((await _read(services, record)).status, (await _read(services, record)).attempt) == ("running", 2)


async def test_a_result_outlives_the_databases_absence(
    services: Services, work: Work, submit: Submit, outage: Outage
) -> None:
    record = await submit(SECONDS_LONG)
    working = asyncio.create_task(work(record))
    await _until_computing(services, record, 1)
    with outage(), pytest.raises(OperationalError):
        await services.fits.get(record.id)
    await working
    found = await _read(services, record)
    assert (found.status, found.attempt) == ("succeeded", 1)


async def _assert_whole(services: Services, record: FitRecord, dataset: Dataset) -> None:
    """What is stored of `LONG` is what it writes down."""
    collector = Collector()
    fit(LONG.problem(dataset), LONG.solver, LONG.recording, collector)
    stored, found = await services.fits.trajectory(record.id), await _read(services, record)
    assert collector.trajectory is not None
    assert isinstance(stored, Trajectory)
    assert found.trajectory is not None
    assert (found.trajectory.recorded, found.trajectory.total_steps) == (400_001, 400_000)
    np.testing.assert_array_equal(stored.records, collector.trajectory.records)


async def test_a_long_trajectory_is_stored_part_by_part(
    services: Services, work: Work, dataset: Dataset, sql: Sql
) -> None:
    record = await _submit_task(services, dataset, LONG)
    await work(record)
    parts = await sql("SELECT ordinal, length(body) AS size, account IS NULL AS rest FROM trajectory_block ORDER BY 1")
    assert [(part["ordinal"], part["rest"]) for part in parts] == [(k, k > 0) for k in range(4)]
    assert max(part["size"] for part in parts) <= 4 << 20
    await _assert_whole(services, record, dataset)


async def _until_a_part_is_stored(services: Services, record: FitRecord, sql: Sql, parts: int) -> None:
    query = "SELECT count(*) AS n FROM trajectory_block WHERE fit_id = %s"
    while (await sql(query, record.id))[0]["n"] < parts:
        assert await services.fits.trajectory(record.id) is None


async def test_a_child_killed_between_parts_leaves_nothing_of_its_own(
    services: Services, work: Work, dataset: Dataset, runner: FitRunner, sql: Sql
) -> None:
    await runner.warm()
    record = await _submit_task(services, dataset, LONG)
    working = asyncio.create_task(work(record))
    await _until_a_part_is_stored(services, record, sql, 2)
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGKILL)
    await working
    found = await _read(services, record)
    assert (found.status, found.attempt) == ("succeeded", 2)
    await _assert_whole(services, record, dataset)


async def test_who_lost_the_fit_between_parts_stores_no_more_of_them(
    services: Services, work: Work, dataset: Dataset, runner: FitRunner, attempts: Attempts, job_of: JobOf, sql: Sql
) -> None:
    await runner.warm()
    record = await _submit_task(services, dataset, LONG)
    working = asyncio.create_task(work(record))
    await _until_a_part_is_stored(services, record, sql, 1)
    lost = runner.pid
    assert await attempts.begin(record.id, await job_of(record.id)) is not None
    await working
    assert runner.pid != lost
    assert await sql("SELECT ordinal FROM trajectory_block WHERE fit_id = %s", record.id) == []
    assert (await _read(services, record)).status == "running"


async def test_parts_outlive_the_databases_absence(
    services: Services, work: Work, dataset: Dataset, sql: Sql, outage: Outage
) -> None:
    record = await _submit_task(services, dataset, LONG)
    working = asyncio.create_task(work(record))
    await _until_a_part_is_stored(services, record, sql, 1)
    with outage(), pytest.raises(OperationalError):
        await services.fits.get(record.id)
    await working
    assert (await _read(services, record)).attempt == 1
    await _assert_whole(services, record, dataset)


async def test_a_shutdown_between_parts_puts_the_fit_back(
    services: Services, work: Work, dataset: Dataset, sql: Sql
) -> None:
    record = await _submit_task(services, dataset, LONG)
    working = asyncio.create_task(work(record))
    await _until_a_part_is_stored(services, record, sql, 1)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (await _read(services, record)).status == "queued"
    assert await services.fits.trajectory(record.id) is None
    await work(record)
    await _assert_whole(services, record, dataset)


async def test_a_finished_fits_job_does_nothing(services: Services, work: Work, submit: Submit) -> None:
    record = await submit(Exact())
    await work(record)
    before = await _read(services, record)
    await work(record)
    assert await _read(services, record) == before
