"""Waiting for a fit: no finish is missed, not even while the database comes and goes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from uuid import UUID, uuid4

import pytest
from psycopg import OperationalError

from service.bootstrap import Services
from service.database.pool import Pool
from service.datasets.store import DatasetStore
from service.jobs.attempts import Attempts
from service.jobs.fits import FitStore
from service.jobs.notices import FitNotices
from service.jobs.records import FitError, FitRecord

pytestmark = pytest.mark.anyio

ERROR = FitError("internal", "It broke.")
LONG = 60.0

Finish = Callable[[FitRecord], Awaitable[None]]
Submit = Callable[[], Awaitable[FitRecord]]
Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def finish(attempts: Attempts, job_of: Callable[[UUID], Awaitable[int]]) -> Finish:
    async def fail(record: FitRecord) -> None:
        attempt = await attempts.begin(record.id, await job_of(record.id))
        assert attempt is not None
        assert await attempts.fail(attempt, ERROR)

    return fail


async def test_a_finished_fit_is_there_at_once(services: Services, submit: Submit, finish: Finish) -> None:
    record = await submit()
    await finish(record)
    found = await services.notices.wait(record.id, LONG)
    assert found is not None
    assert found.error == ERROR


async def test_no_seconds_are_one_look(services: Services, submit: Submit) -> None:
    record = await submit()
    assert await services.notices.wait(record.id, 0) == record


async def test_time_runs_out(services: Services, submit: Submit) -> None:
    record = await submit()
    began = time.monotonic()
    assert await services.notices.wait(record.id, 0.2) == record
    assert 0.2 <= time.monotonic() - began < 2


async def test_an_unknown_fit_is_none(services: Services) -> None:
    assert await services.notices.wait(uuid4(), LONG) is None


async def test_all_who_wait_hear_of_it_at_once(services: Services, submit: Submit, finish: Finish) -> None:
    record = await submit()
    # A first notice proves that the connection listens: from then on nothing is left to the second look.
    with services.notices.subscription(record.id) as changed:
        while not changed.is_set():
            await services.notices.wait(record.id, 0.01)
            async with services.pool.connection() as connection:
                await connection.execute("SELECT pg_notify('plumbline_fit', %s)", [str(record.id)])
    waiting = [asyncio.create_task(services.notices.wait(record.id, LONG)) for _ in range(50)]
    began = time.monotonic()
    await finish(record)
    found = await asyncio.gather(*waiting)
    assert all(one is not None and one.status == "failed" for one in found)
    assert time.monotonic() - began < 1


async def test_a_finish_at_any_moment_is_seen(services: Services, submit: Submit, finish: Finish) -> None:
    for _ in range(30):
        record = await submit()
        found, _ = await asyncio.gather(services.notices.wait(record.id, LONG), finish(record))
        assert found is not None
        assert found.status == "failed"


async def test_nobody_is_remembered_who_no_longer_waits(services: Services, submit: Submit) -> None:
    record = await submit()
    with services.notices.subscription(record.id) as first, services.notices.subscription(record.id) as second:
        assert first is not second
    await services.notices.wait(record.id, 0)
    assert vars(services.notices)["_waiting"] == {}


@pytest.mark.parametrize("turns", range(6))
async def test_whoever_stops_waiting_just_when_the_fit_changes_is_let_go(
    services: Services, submit: Submit, turns: int
) -> None:
    record = await submit()
    waiting = asyncio.create_task(services.notices.wait(record.id, LONG))
    await asyncio.sleep(0.1)
    [changed] = vars(services.notices)["_waiting"][str(record.id)]
    changed.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    done, _ = await asyncio.wait([waiting], timeout=5)
    assert done == {waiting}


class _Watched(FitStore):
    """Tells when a fit has been read for the first time."""

    def __init__(self, pool: Pool, datasets: DatasetStore) -> None:
        super().__init__(pool, datasets)
        self.was_read = asyncio.Event()

    async def get(self, fit_id: UUID) -> FitRecord | None:
        try:
            return await super().get(fit_id)
        finally:
            self.was_read.set()


async def test_an_absent_database_is_an_error_only_from_the_start(
    services: Services, submit: Submit, finish: Finish, outage: Outage
) -> None:
    record = await submit()
    fits = _Watched(services.pool, services.datasets)
    notices = FitNotices(str(services.settings.database_url), fits)
    async with notices.listening():
        waiting = asyncio.create_task(notices.wait(record.id, LONG))
        await fits.was_read.wait()
        with outage(), pytest.raises(OperationalError):
            await notices.wait(record.id, LONG)
        await finish(record)
        found = await waiting
    assert found is not None
    assert found.status == "failed"
