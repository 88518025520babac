"""The consumer ends when it is told to, at whatever moment that is, and overlooks no fit until then."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, LiteralString

import pytest
from procrastinate import App, PsycopgConnector

from service.bootstrap import Services
from service.jobs.consumer import QueueConsumer, SteadyJobManager
from service.jobs.queue import QUEUE
from tests.jobs.conftest import Submit

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 10, 20, 40, 80])
async def test_a_stop_is_never_lost(services: Services, turns: int) -> None:
    """After so many turns of the event loop, most of which fall into the worker's beginnings."""
    consumer = QueueConsumer(services.pool, _nothing, grace_seconds=0.1)
    running = asyncio.create_task(consumer.run())
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await consumer.stop(running)
        await running
    assert consumer.worker_id is None


async def test_a_running_job_is_cancelled_after_its_grace(services: Services, submit: Submit) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(*_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await submit()
    consumer = QueueConsumer(services.pool, endless, grace_seconds=0.1)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        assert len(consumer.running) == 1
        await consumer.stop(running)
    assert cancelled.is_set()
    assert not consumer.running


async def test_a_worker_that_begins_takes_no_other_for_dead(services: Services) -> None:
    """As it may begin again just when the database comes back, and no heart has beaten yet."""
    connector = PsycopgConnector()
    manager = SteadyJobManager(connector)
    await App(connector=connector).open_async(pool=services.pool)
    other = await manager.register_worker()
    async with services.pool.connection() as connection:
        await connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    consumer = QueueConsumer(services.pool, _nothing, grace_seconds=0.1)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(PATIENCE):
        while consumer.worker_id is None:  # noqa: ASYNC110 - the database is waited for
            await asyncio.sleep(0.01)
        await consumer.stop(running)
    async with services.pool.connection() as connection:
        cursor = await connection.execute("SELECT id FROM procrastinate_workers")
        assert await cursor.fetchall() == [{"id": other}]


async def test_a_fit_that_comes_while_the_queue_is_found_empty_is_not_overlooked(
    services: Services, submit: Submit
) -> None:
    connector = _Interrupted()
    manager = SteadyJobManager(connector)
    await App(connector=connector).open_async(pool=services.pool)
    worker_id = await manager.register_worker()
    noticed = asyncio.Event()

    async def notice(**_: object) -> None:
        noticed.set()

    async def interrupt() -> None:
        await submit()
        await noticed.wait()

    listening = asyncio.create_task(manager.listen_for_jobs(on_notification=notice, queues=[QUEUE]))
    async with asyncio.timeout(PATIENCE):
        while not noticed.is_set():
            async with services.pool.connection() as connection:
                await connection.execute("SELECT pg_notify(%s, %s)", [_CHANNEL, '{"type": "job_inserted"}'])
            await asyncio.sleep(0.01)
        noticed.clear()
        connector.interruptions.append(interrupt)
        assert await manager.fetch_job([QUEUE], worker_id) is not None
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


_CHANNEL = f"procrastinate_queue_v1#{QUEUE}"


class _Interrupted(PsycopgConnector):
    """Things happen between an answer of the database and its being read."""

    def __init__(self) -> None:
        super().__init__()
        self.interruptions: list[Callable[[], Awaitable[None]]] = []

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        row: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
        while self.interruptions:
            await self.interruptions.pop()()
        return row


async def _nothing(*_: object) -> None:
    return
