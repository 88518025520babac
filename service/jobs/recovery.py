"""Finds fits that nobody works at, whatever became of their worker or their job, and gives them another chance.

A fit is in good hands as long as its own job waits in the queue, or is being done by a worker whose heart beats. All
else is lost: no job, a job that ended without its fit, a job whose worker is dead or pruned; and a job that this very
worker is said to do and does not (procrastinate issue 1518).
"""

import logging
from collections.abc import Set
from typing import Any

from service.database.pool import Connection, Pool, transaction
from service.jobs.attempts import Fence, assign_job, change, fail
from service.jobs.queue import DEAD_AFTER_SECONDS, QUEUE, FitQueue
from service.jobs.records import FitError

logger = logging.getLogger(__name__)

# One worker at a time looks for lost fits; any constant will do that nobody else locks.
_LOCK = 0x666974


class Recovery:
    """Sweeps up lost fits. One for each worker."""

    def __init__(self, pool: Pool, queue: FitQueue, most_attempts: int) -> None:
        self._pool = pool
        self._queue = queue
        self._most = most_attempts
        self._suspects: Set[int] = frozenset()

    async def sweep(self, worker_id: int | None, running: Set[int]) -> int:
        """Put lost fits back into the queue, or fail those that were started often enough; return how many.

        Raises `psycopg.OperationalError` while the database is away.

        Parameters
        ----------
        worker_id, running
            The caller's row among the workers, if it has one, and the jobs that it is really doing.
        """
        async with transaction(self._pool) as connection:
            if not await _is_alone(connection):
                return 0
            abandoned = await self._abandoned(connection, worker_id, running)
            lost = await _lost(connection, abandoned, running)
            for fence in lost:
                await self._recover(connection, fence)
            await connection.execute(_DELETE_LEFTOVERS, {"queue": QUEUE})
        return len(lost)

    async def _abandoned(self, connection: Connection, worker_id: int | None, running: Set[int]) -> Set[int]:
        # Twice in a row: a job between its fetching and its first line is not yet among those that run.
        cursor = await connection.execute(_OWN_JOBS, [worker_id])
        suspects = {row["id"] for row in await cursor.fetchall()} - running
        abandoned = suspects & self._suspects
        self._suspects = suspects
        return abandoned

    async def _recover(self, connection: Connection, fence: Fence) -> None:
        await connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s", [fence.job_id])
        if fence.number >= self._most:
            logger.error("Fit %s was lost %d times, and fails", fence.fit_id, fence.number)
            await fail(connection, fence, _used_up(fence.number))
        else:
            logger.warning("Fit %s was lost in attempt %d, and is queued again", fence.fit_id, fence.number)
            await change(connection, fence, "queued", "progress = NULL")
            await assign_job(connection, self._queue, fence.fit_id)


async def _is_alone(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", [_LOCK])
    row = await cursor.fetchone()
    return row is not None and bool(row["alone"])


async def _lost(connection: Connection, abandoned: Set[int], running: Set[int]) -> list[Fence]:
    values: dict[str, Any] = {
        "seconds": DEAD_AFTER_SECONDS,
        "abandoned": list(abandoned),
        "running": list(running),
    }
    cursor = await connection.execute(_SELECT_LOST, values)
    return [Fence(row["id"], row["attempt"], row["job_id"]) for row in await cursor.fetchall()]


def _used_up(attempts: int) -> FitError:
    return FitError(
        "crashed",
        f"The worker that ran the fit was lost, in the last of {attempts} attempts. It is not tried again.",
    )


_OWN_JOBS = "SELECT id FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = %s"

# The caller's own running jobs are never lost: after a sleep of the whole machine its heartbeat, too, looks old.
_SELECT_LOST = """
SELECT fit.id, fit.attempt, fit.job_id
FROM fit
LEFT JOIN procrastinate_jobs job ON job.id = fit.job_id
LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
WHERE fit.status IN ('queued', 'running')
    AND (
        job.id IS NULL
        OR job.status NOT IN ('todo', 'doing')
        OR job.status = 'doing' AND job.id <> ALL(%(running)s::bigint[]) AND (
            worker.id IS NULL
            OR worker.last_heartbeat < now() - make_interval(secs => %(seconds)s)
            OR job.id = ANY(%(abandoned)s::bigint[])
        )
    )
ORDER BY fit.created_at
FOR UPDATE OF fit
"""

# Finished here means: a minute ago. Before that, its worker may still be about to delete the job itself.
_DELETE_LEFTOVERS = """
DELETE FROM procrastinate_jobs job USING fit
WHERE job.queue_name = %(queue)s AND fit.id = (job.args->>'fit_id')::uuid
    AND fit.finished_at < now() - interval '1 minute'
"""
