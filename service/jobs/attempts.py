"""The worker's side of a fit: attempts at it, each fenced off from every other.

An attempt is known by the fit, its number and the job it came with. Each change it makes to the fit asks for all three,
so a worker that was taken for dead, and comes back late, changes nothing.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from service.database.pool import Connection, Pool, transaction
from service.fitting.task import Progress
from service.jobs.messages import Part, Solved
from service.jobs.queue import FitQueue
from service.jobs.records import ERROR, PROGRESS, RESULT, FitError, FitStatus, Result
from service.jobs.trajectories import part_values
from service.jobs.transitions import sources

#: On which every change of a fit is told.
CHANNEL = "plumbline_fit"
#: On which a worker is told that the fit it runs is to be cancelled.
CANCEL_CHANNEL = "plumbline_cancel"


@dataclass(frozen=True)
class Fence:
    """What a fit must still be at for a change to go through."""

    fit_id: UUID
    number: int
    job_id: int | None


@dataclass(frozen=True)
class Attempt(Fence):
    """One start of a fit. `task` and `start_state` are as stored, to be read where a failure to is dealt with."""

    job_id: int
    dataset_id: str
    task: str
    start_state: bytes | None


class Attempts:
    """Begins attempts and writes down what becomes of them.

    Every method but `begin` returns whether the attempt was still the fit's own; where it was not, nothing changed. All
    raise `psycopg.OperationalError` while the database is away, and may then be called again.
    """

    def __init__(self, pool: Pool, queue: FitQueue, most: int) -> None:
        self._pool = pool
        self._queue = queue
        self._most = most

    async def begin(self, fit_id: UUID, job_id: int) -> Attempt | None:
        """Start the fit, or start it again; None where it is finished, used up, or no longer this job's.

        What an earlier attempt wrote down is gone with that.
        """
        values = {"id": fit_id, "job_id": job_id, "sources": sources("running"), "most": self._most}
        async with transaction(self._pool) as connection:
            # Binary: as text, PostgreSQL would send two hexadecimal characters a byte.
            cursor = await connection.execute(_BEGIN, values, binary=True)
            row = await cursor.fetchone()
            if row is not None:
                await _forget_parts(connection, fit_id)
        if row is None:
            return None
        return Attempt(fit_id, row["attempt"], job_id, row["dataset_id"], row["task"], row["start_state"])

    def is_last(self, attempt: Attempt) -> bool:
        return attempt.number >= self._most

    async def progress(self, attempt: Attempt, progress: Progress) -> bool:
        """Note how far it has got."""
        async with self._pool.connection() as connection:
            return await change(
                connection, attempt, "running", "progress = %(progress)s", progress=PROGRESS.encode(progress)
            )

    async def keep(self, attempt: Attempt, part: Part) -> bool:
        """Store a part of the trajectory; again, if it is not known whether that came to pass."""
        async with self._pool.connection() as connection:
            return await _insert(connection, attempt, "running", part)

    async def succeed(self, attempt: Attempt, solved: Solved) -> bool:
        """Store the answer, the last part of the trajectory and where it ended, and finish the fit."""
        result = RESULT.encode(Result(solved.report, solved.trajectory))
        progress = None if solved.progress is None else PROGRESS.encode(solved.progress)
        async with transaction(self._pool) as connection:
            kept = await change(
                connection,
                attempt,
                "succeeded",
                "result = %(result)s, progress = coalesce(%(progress)s, progress::text)::json,"
                " end_state = %(end_state)s, finished_at = now()",
                result=result,
                progress=progress,
                end_state=solved.end_state,
            )
            if kept and solved.last_part is not None:
                await _insert(connection, attempt, "succeeded", solved.last_part)
        return kept

    async def fail(self, attempt: Attempt, error: FitError) -> bool:
        """Finish the fit with the reason."""
        async with transaction(self._pool) as connection:
            return await fail(connection, attempt, error)

    async def release(self, attempt: Attempt) -> bool:
        """Put the fit back into the queue, as if this attempt had not been."""
        async with transaction(self._pool) as connection:
            released = await change(connection, attempt, "queued", "attempt = attempt - 1, progress = NULL")
            if released:
                await assign_job(connection, self._queue, attempt.fit_id)
        return released


async def fail(connection: Connection, fence: Fence, error: FitError) -> bool:
    """Finish the fit with the reason; what it wrote down is gone. The caller commits."""
    failed = await change(
        connection, fence, "failed", "error = %(error)s, finished_at = now()", error=ERROR.encode(error)
    )
    if failed:
        await _forget_parts(connection, fence.fit_id)
    return failed


async def assign_job(connection: Connection, queue: FitQueue, fit_id: UUID) -> None:
    """Give the fit a new job; any older job of its can do nothing from now on. The caller commits."""
    job_id = await queue.enqueue(connection, fit_id)
    await connection.execute("UPDATE fit SET job_id = %s WHERE id = %s", [job_id, fit_id])


async def change(connection: Connection, fence: Fence, status: FitStatus, assignments: str, **values: Any) -> bool:
    """Give the fit this status and what else is assigned, if it is still within the fence. The caller commits."""
    query = sql.SQL(_CHANGE).format(assignments=sql.SQL(assignments), channel=CHANNEL)
    cursor = await connection.execute(query, {**_guard(fence, status), "sources": sources(status), **values})
    return cursor.rowcount == 1


def _guard(fence: Fence, status: FitStatus) -> dict[str, Any]:
    return {"id": fence.fit_id, "attempt": fence.number, "job_id": fence.job_id, "status": status}


async def _insert(connection: Connection, fence: Fence, status: FitStatus, part: Part) -> bool:
    cursor = await connection.execute(_INSERT_PART, _guard(fence, status) | part_values(part))
    return cursor.rowcount == 1


async def _forget_parts(connection: Connection, fit_id: UUID) -> None:
    await connection.execute("DELETE FROM trajectory_block WHERE fit_id = %s", [fit_id])


# The notice goes out if and when the change commits.
_BEGIN = f"""
WITH changed AS (
    UPDATE fit SET status = 'running', attempt = attempt + 1, version = version + 1, progress = NULL,
        started_at = coalesce(started_at, now())
    WHERE id = %(id)s AND job_id = %(job_id)s AND status = ANY(%(sources)s) AND attempt < %(most)s
    RETURNING id, attempt, dataset_id, task::text AS task, start_state
)
SELECT attempt, dataset_id, task, start_state, pg_notify('{CHANNEL}', id::text) FROM changed
"""

_CHANGE = """
WITH changed AS (
    UPDATE fit SET status = %(status)s, version = version + 1, {assignments}
    WHERE id = %(id)s AND attempt = %(attempt)s AND job_id IS NOT DISTINCT FROM %(job_id)s
        AND status = ANY(%(sources)s)
    RETURNING id
)
SELECT pg_notify({channel}, id::text) FROM changed
"""

# Locked, so that whoever takes the fit away, and forgets the parts, does so before this or sees it. The same part may
# come twice, where the database went away before it had said that the first was stored.
_INSERT_PART = """
WITH mine AS (
    SELECT id FROM fit
    WHERE id = %(id)s AND attempt = %(attempt)s AND job_id IS NOT DISTINCT FROM %(job_id)s AND status = %(status)s
    FOR SHARE
)
INSERT INTO trajectory_block (fit_id, ordinal, account, rows, first_step, last_step, body)
SELECT id, %(ordinal)s, %(account)s, %(rows)s, %(first_step)s, %(last_step)s, %(body)s FROM mine
ON CONFLICT (fit_id, ordinal) DO UPDATE SET account = excluded.account, rows = excluded.rows,
    first_step = excluded.first_step, last_step = excluded.last_step, body = excluded.body
"""
