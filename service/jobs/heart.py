"""A worker's signs of life in the database: a beat every other second, and a lock that goes when its process goes.

Both on one connection that serves nothing else. When the process ends, however that happens, the kernel closes the
connection, PostgreSQL gives up the lock, and the next look finds the worker gone. Where a machine is switched off or
cut off, PostgreSQL learns nothing of it for a while: there the beat counts, which grows old.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from psycopg import AsyncConnection

from service.database.cancellation import end_if_cancelled
from service.database.errors import UNAVAILABLE
from service.database.pool import APPLICATION_NAME, watchful

#: Without a beat for this long, a worker is dead, lock or not.
DEAD_AFTER_SECONDS = 15.0

# Under half of what lies between two looks of a recovery: a worker that the database just forgot is back in time.
_BEAT_SECONDS = 1.0
_RECONNECT_SECONDS = 0.5

#: The first key of workers' locks, whose second is the worker's id; any constant will do that nobody else locks.
LOCKS = 0x686561

logger = logging.getLogger(__name__)


class Heart:
    """Beats for one worker as long as it is registered.

    Parameters
    ----------
    worker_id
        Asked before every beat: its row in `procrastinate_workers`, None while it has none. It may become another.
    """

    def __init__(self, url: str, worker_id: Callable[[], int | None]) -> None:
        self._url = url
        self._worker_id = worker_id

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat for as long as the context is open, whenever the database is there."""
        beating = asyncio.create_task(self._beat_always(), name="heart")
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    async def _beat_always(self) -> None:
        while True:
            with suppress(*UNAVAILABLE):  # others in this process say so
                await self._beat()
            end_if_cancelled()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _beat(self) -> None:
        connection = await AsyncConnection.connect(
            watchful(self._url), autocommit=True, application_name=APPLICATION_NAME
        )
        async with connection:
            # A beat is worth nothing after a crash of the database.
            await connection.execute("SET synchronous_commit = off")
            locked = None
            while True:
                worker_id = self._worker_id()
                if worker_id != locked:
                    await _lock(connection, worker_id)
                    locked = worker_id
                if worker_id is not None:
                    await connection.execute(_BEAT, {"worker_id": worker_id})
                # Nobody notifies: this waits, and ends at once when the connection does.
                async for _ in connection.notifies(timeout=_BEAT_SECONDS):
                    pass
                end_if_cancelled()


async def _lock(connection: AsyncConnection, worker_id: int | None) -> None:
    await connection.execute("SELECT pg_advisory_unlock_all()")
    if worker_id is not None:
        # Shared: the connection before this one may not have ended yet, as the server sees it.
        await connection.execute("SELECT pg_advisory_lock_shared(%s, %s::int)", [LOCKS, worker_id])


# A row that was pruned comes back: without it, the worker can fetch nothing.
_BEAT = """
INSERT INTO procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE VALUES (%(worker_id)s, now())
ON CONFLICT (id) DO UPDATE SET last_heartbeat = excluded.last_heartbeat
"""

#: Whether the `worker` of a query is alive.
IS_ALIVE = f"""(
    worker.last_heartbeat > now() - interval '{DEAD_AFTER_SECONDS} s'
    AND EXISTS (
        SELECT FROM pg_locks held
        JOIN pg_database ON pg_database.oid = held.database AND datname = current_database()
        WHERE held.locktype = 'advisory' AND held.classid = {LOCKS} AND held.objid = worker.id::oid
            AND held.objsubid = 2 AND held.granted
    )
)"""
