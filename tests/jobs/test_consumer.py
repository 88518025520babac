"""The consumer ends when it is told to, at whatever moment that is."""

import asyncio

import pytest

from service.bootstrap import Services
from service.jobs.consumer import QueueConsumer
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


async def _nothing(*_: object) -> None:
    return
