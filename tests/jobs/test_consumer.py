"""Taking jobs from the queue: once each, with a row among the workers that heals."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import pytest
from procrastinate import PsycopgConnector
from psycopg import OperationalError

from service.bootstrap import Services
from service.jobs.consumer import JobBody, QueueConsumer, SteadyJobManager
from service.jobs.records import FitRecord

pytestmark = pytest.mark.anyio

Submit = Callable[[], Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Outage = Callable[[], AbstractContextManager[None]]


@asynccontextmanager
async def _consuming(services: Services, body: JobBody, grace_seconds: float = 5) -> AsyncIterator[QueueConsumer]:
    consumer = QueueConsumer(services.pool, body, grace_seconds)
    running = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_every_job_is_done_once_in_order_and_deleted(services: Services, submit: Submit, sql: Sql) -> None:
    done: asyncio.Queue[UUID] = asyncio.Queue()

    async def body(fit_id: UUID, job_id: int) -> None:
        assert consumer.running == {job_id}
        await done.put(fit_id)

    before = [await submit() for _ in range(3)]
    async with _consuming(services, body) as consumer:
        later = [await submit() for _ in range(3)]
        order = [await done.get() for _ in range(6)]
    assert order == [record.id for record in before + later]
    assert await sql("SELECT 1 FROM procrastinate_jobs") == []


async def test_a_worker_counts_while_it_listens(services: Services, submit: Submit) -> None:
    begun = asyncio.Event()

    async def body(_fit_id: UUID, _job_id: int) -> None:
        begun.set()

    assert await services.queue.listening_workers() == 0
    async with _consuming(services, body):
        await submit()
        await begun.wait()
        assert await services.queue.listening_workers() == 1
    assert await services.queue.listening_workers() == 0


async def test_a_dead_worker_does_not_count(services: Services, sql: Sql) -> None:
    await sql("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '31 s'), (now())")
    assert await services.queue.listening_workers() == 1


async def test_a_job_gets_its_grace_and_is_then_cancelled(services: Services, submit: Submit) -> None:
    begun = asyncio.Event()
    ended: list[str] = []

    async def body(_fit_id: UUID, _job_id: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with _consuming(services, body, grace_seconds=0.1):
        await submit()
        await begun.wait()
    assert ended == ["cancelled"]


async def test_a_heartbeat_brings_a_pruned_worker_back(services: Services, sql: Sql) -> None:
    manager = SteadyJobManager(PsycopgConnector(), services.pool)
    [row] = await sql("SELECT worker_id FROM procrastinate_register_worker_v1()")
    await sql("DELETE FROM procrastinate_workers")
    await manager.update_heartbeat(row["worker_id"])
    assert await sql("SELECT id FROM procrastinate_workers") == [{"id": row["worker_id"]}]
    [newcomer] = await sql("SELECT worker_id FROM procrastinate_register_worker_v1()")
    assert newcomer["worker_id"] != row["worker_id"]


async def test_a_running_job_does_not_notice_an_outage(services: Services, submit: Submit, outage: Outage) -> None:
    begun, over, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def body(_fit_id: UUID, _job_id: int) -> None:
        begun.set()
        await over.wait()
        ended.set()

    async with _consuming(services, body, grace_seconds=0):
        record = await submit()
        await begun.wait()
        with outage(), pytest.raises(OperationalError):
            await services.fits.get(record.id)
        over.set()
        await ended.wait()
