"""What becomes of fits that are accepted, as those who own them wish: cancelled, tried again, deleted, cleared away.

Each wish is one transaction that begins by locking the fit: a worker that begins, finishes or puts back the same fit
does so before it, and is seen, or after it, and finds the fit in a status that it cannot go on from.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from service.database.errors import UNAVAILABLE
from service.database.pool import Connection, Pool, transaction
from service.datasets.files import StoreUnavailable
from service.datasets.store import DatasetStore
from service.jobs.attempts import CANCEL_CHANNEL, CHANNEL, assign_job
from service.jobs.queue import FitQueue
from service.jobs.records import FitStatus
from service.jobs.transitions import FINISHED, revivable, sources

#: So many fits, and so many keys, are cleared away by one transaction: it is soon over, and holds few rows.
BATCH = 100

# What is younger may be about to be used.
_LEFT_OVER_AFTER = timedelta(hours=1)

logger = logging.getLogger(__name__)


class FitKeeper:
    """Cancels, retries, deletes and clears away fits.

    `cancel`, `retry` and `delete` return the status in which they found the fit, by which it is known what they did;
    None where there is no such fit. Every method raises what is in `UNAVAILABLE` while the database is away.
    """

    def __init__(self, pool: Pool, queue: FitQueue, datasets: DatasetStore) -> None:
        self._pool = pool
        self._queue = queue
        self._datasets = datasets

    async def cancel(self, fit_id: UUID) -> FitStatus | None:
        """Cancel the fit, if it is queued; have its worker end it, if it is running. A finished one stays as it is.

        Asked again, it does no more than before.
        """
        async with transaction(self._pool) as connection:
            found = await _hold(connection, fit_id)
            if found is None:
                return None
            if found.status == "queued":
                await connection.execute(_CANCEL, {"id": fit_id, "sources": sources("cancelled")})
                await _drop_job(connection, found)
            elif found.status == "running":
                await connection.execute(_ASK_TO_STOP, {"id": fit_id})
        return found.status

    async def retry(self, fit_id: UUID) -> FitStatus | None:
        """Put the fit back into the queue, as new, if it has failed; any other stays as it is.

        So does a cancelled one: it ended as its owner wished, and a retry would take away what it had recorded.
        """
        async with transaction(self._pool) as connection:
            found = await _hold(connection, fit_id)
            if found is None:
                return None
            if found.status in revivable("queued"):
                await connection.execute(_RETRY, {"id": fit_id, "sources": revivable("queued")})
                await assign_job(connection, self._queue, fit_id)
        return found.status

    async def delete(self, fit_id: UUID) -> FitStatus | None:
        """Delete the fit with all that is its own, unless it is running.

        That is its job, its trajectory, its Idempotency-Key and its dataset, the latter two where no other fit has
        them. Fits that are its remedies keep its id.
        """
        async with transaction(self._pool) as connection:
            found = await _hold(connection, fit_id)
            if found is None:
                return None
            if found.status == "running":
                return found.status
            await _drop_job(connection, found)
            await _erase(connection, [found])
        await self._remove_datasets([found])
        return found.status

    async def clear(self, days: float | None, count: int | None) -> bool:
        """Delete finished fits that are no longer to be kept, the oldest first, and keys that are a day old.

        Returns whether there may be more of them. Any number of workers may do so at once.

        Parameters
        ----------
        days
            How long ago a fit may have finished; None for any time.
        count
            How many finished fits are kept, the newest; None for any number.
        """
        async with transaction(self._pool) as connection:
            expired = await _hold_expired(connection, days, count)
            if expired:
                await _erase(connection, expired)
            cursor = await connection.execute(_DELETE_OLD_KEYS, {"batch": BATCH})
        await self._remove_datasets(expired)
        return BATCH in (len(expired), cursor.rowcount)

    async def clear_leftovers(self) -> None:
        """Remove datasets that no fit needs, and files that no dataset has: what a crash left of a deletion.

        Raises `StoreUnavailable` while the store of files is away.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SELECT_UNUSED, {"age": _LEFT_OVER_AFTER})
            unused = [row["id"] for row in await cursor.fetchall()]
        await self._datasets.remove_unused(unused)
        await self._datasets.sweep_files(_LEFT_OVER_AFTER)

    async def _remove_datasets(self, fits: Iterable["_Held"]) -> None:
        ids = sorted({fit.dataset_id for fit in fits})
        try:
            await self._datasets.remove_unused(ids)
        except (*UNAVAILABLE, StoreUnavailable) as error:
            # The fits are gone: that is what their owner is to hear. The rest is a leftover.
            logger.warning("Datasets of deleted fits are left for later: %s", error)


@dataclass(frozen=True)
class _Held:
    """A fit that is locked until the transaction ends."""

    id: UUID
    status: FitStatus
    job_id: int | None
    dataset_id: str


async def _hold(connection: Connection, fit_id: UUID) -> _Held | None:
    cursor = await connection.execute(f"SELECT {_HELD} FROM fit WHERE id = %s FOR UPDATE", [fit_id])
    row = await cursor.fetchone()
    return None if row is None else _Held(**row)


async def _hold_expired(connection: Connection, days: float | None, count: int | None) -> list[_Held]:
    """Some of those that are to go. Rows that others hold are theirs to deal with."""
    values = {"finished": list(FINISHED), "days": days, "count": count, "batch": BATCH}
    conditions = [_EXPIRED[name] for name in ("days", "count") if values[name] is not None]
    if not conditions:
        return []
    query = f"SELECT {_HELD} FROM fit WHERE {_FINISHED} AND ({' OR '.join(conditions)}) {_OLDEST}"
    cursor = await connection.execute(query, values)
    return [_Held(**row) for row in await cursor.fetchall()]


async def _drop_job(connection: Connection, fit: _Held) -> None:
    # One that a worker has fetched is that worker's to delete: it finds nothing to begin, and does.
    await connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s AND status = 'todo'", [fit.job_id])


async def _erase(connection: Connection, fits: Iterable[_Held]) -> None:
    """Delete the fits, with what the database deletes along with them, and the keys that stand for nothing then."""
    values = {"ids": [fit.id for fit in fits]}
    await connection.execute(_LOCK_KEYS, values)
    await connection.execute(_DELETE, values)
    await connection.execute(_FREE_KEYS, values)


_HELD = "id, status, job_id, dataset_id"

# What an earlier attempt wrote down.
_FORGET = """
parts AS (DELETE FROM trajectory_block USING changed WHERE fit_id = changed.id),
glimpses AS (DELETE FROM trajectory_glimpse USING changed WHERE fit_id = changed.id)
"""

_CANCEL = f"""
WITH changed AS (
    UPDATE fit SET status = 'cancelled', version = version + 1, cancel_requested_at = now(), finished_at = now(),
        progress = NULL, digest = NULL
    WHERE id = %(id)s AND status = ANY(%(sources)s)
    RETURNING id
), {_FORGET}
SELECT pg_notify('{CHANNEL}', id::text) FROM changed
"""

_ASK_TO_STOP = f"""
WITH changed AS (
    UPDATE fit SET cancel_requested_at = now(), version = version + 1
    WHERE id = %(id)s AND status = 'running' AND cancel_requested_at IS NULL
    RETURNING id
)
SELECT pg_notify('{CHANNEL}', id::text), pg_notify('{CANCEL_CHANNEL}', id::text) FROM changed
"""

_RETRY = f"""
WITH changed AS (
    UPDATE fit SET status = 'queued', version = version + 1, attempt = 0, queued_at = now(), error = NULL,
        progress = NULL, started_at = NULL, finished_at = NULL, cancel_requested_at = NULL
    WHERE id = %(id)s AND status = ANY(%(sources)s)
    RETURNING id
), {_FORGET}
SELECT pg_notify('{CHANNEL}', id::text) FROM changed
"""

_DELETE = f"""
WITH gone AS (DELETE FROM fit WHERE id = ANY(%(ids)s) RETURNING id)
SELECT pg_notify('{CHANNEL}', id::text) FROM gone
"""

# First locked, in one order for all: who deletes the other fits of the same key sees that these are gone.
_LOCK_KEYS = "SELECT FROM submission WHERE fits && %(ids)s ORDER BY key FOR UPDATE"
_FREE_KEYS = """
DELETE FROM submission
WHERE fits && %(ids)s AND NOT EXISTS (SELECT FROM fit WHERE fit.id = ANY(submission.fits))
"""

_DELETE_OLD_KEYS = """
DELETE FROM submission WHERE key IN (
    SELECT key FROM submission WHERE created_at < now() - interval '24 hours' LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
"""

_SELECT_UNUSED = """
SELECT id FROM dataset
WHERE created_at < now() - %(age)s AND NOT EXISTS (SELECT FROM fit WHERE fit.dataset_id = dataset.id)
"""

# The second says no more than the first; without it, PostgreSQL does not see that its index is meant.
_FINISHED = "status = ANY(%(finished)s) AND finished_at IS NOT NULL"
_EXPIRED = {
    "days": "finished_at < now() - make_interval(secs => %(days)s * 86400)",
    "count": """(finished_at, id) <= (
        SELECT finished_at, id FROM fit WHERE finished_at IS NOT NULL
        ORDER BY finished_at DESC, id DESC OFFSET %(count)s LIMIT 1
    )""",
}
_OLDEST = "ORDER BY finished_at, id LIMIT %(batch)s FOR UPDATE SKIP LOCKED"
