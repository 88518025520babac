"""A worker counts as alive from its registration to the end of its process, and again after every outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from service.bootstrap import Services
from service.jobs.heart import Heart
from tests.conftest import Outage

pytestmark = pytest.mark.anyio

Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
PATIENCE = 20.0


class Registration:
    """A worker's id, as it changes."""

    worker_id: int | None = None


@pytest.fixture
def registration() -> Registration:
    return Registration()


@pytest.fixture
async def heart(services: Services, database_url: str, registration: Registration) -> AsyncIterator[Heart]:  # noqa: ARG001
    """A beating heart; `services` has emptied the database."""
    heart = Heart(database_url, lambda: registration.worker_id)
    async with heart.beating():
        yield heart


async def _until_alive(services: Services, workers: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await services.queue.listening_workers() != workers:  # noqa: ASYNC110 - the database is waited for
            await asyncio.sleep(0.02)


async def _register(sql: Sql) -> int:
    [row] = await sql("SELECT worker_id FROM procrastinate_register_worker_v1()")
    return int(row["worker_id"])


async def test_a_row_alone_is_no_life(services: Services, sql: Sql) -> None:
    await _register(sql)
    assert await services.queue.listening_workers() == 0


@pytest.mark.usefixtures("heart")
async def test_it_beats_for_whoever_is_registered(services: Services, sql: Sql, registration: Registration) -> None:
    for _ in range(2):
        registration.worker_id = await _register(sql)
        await _until_alive(services, 1)
    registration.worker_id = None
    await _until_alive(services, 0)


async def test_its_end_is_seen_at_once(services: Services, database_url: str, sql: Sql) -> None:
    worker_id = await _register(sql)
    async with Heart(database_url, lambda: worker_id).beating():
        await _until_alive(services, 1)
    await _until_alive(services, 0)
    [beat] = await sql("SELECT last_heartbeat > now() - interval '5 s' AS is_young FROM procrastinate_workers")
    assert beat["is_young"]


@pytest.mark.usefixtures("heart")
async def test_a_worker_that_was_pruned_is_there_again(
    services: Services, sql: Sql, registration: Registration
) -> None:
    registration.worker_id = await _register(sql)
    await _until_alive(services, 1)
    await sql("DELETE FROM procrastinate_workers")
    await _until_alive(services, 1)
    assert await sql("SELECT id FROM procrastinate_workers") == [{"id": registration.worker_id}]


@pytest.mark.usefixtures("heart")
async def test_it_beats_again_after_an_outage(
    services: Services, sql: Sql, registration: Registration, outage: Outage
) -> None:
    registration.worker_id = await _register(sql)
    await _until_alive(services, 1)
    with outage():
        pass
    await _until_alive(services, 1)
