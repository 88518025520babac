"""The worker's side of a fit: attempts at it, each fenced off from every other.

An attempt is known by the fit, its number and the job it came with. Each change it makes to the fit asks for all three,
so a worker that was taken for dead, and comes back late, changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql

from service.database.pool import Connection, Pool
from service.fitting.data import Dataset
from service.jobs.attempt_statements import BEGIN, DISMISS, ENDS, FINISH, HAND, LAST_PARTS, RELEASE
from service.jobs.ends import Cancelled, Ending, end_values, solution_of
from service.jobs.messages import Glimpse, Part, Piece, Solved
from service.jobs.queue import FitQueue
from service.jobs.records import ERROR, PROGRESS, FitError, FitProgress, FitStatus
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
    """One start of a fit. What else there is, is as stored: to be read where a failure to is dealt with.

    Attributes
    ----------
    columns, rows, body
        The dataset's; the body is None where it lies in a file.
    """

    job_id: int
    dataset_id: str
    task: str
    start_state: bytes | None
    columns: list[str]
    rows: int
    body: bytes | None

    def dataset(self) -> Dataset | None:
        """The fit's dataset, where it came along."""
        return None if self.body is None else Dataset.from_bytes(self.columns, self.rows, self.body, self.dataset_id)


class Attempts:
    """Begins attempts and writes down what becomes of them.

    Every method raises `psycopg.OperationalError` while the database is away, and may then be called again. Those that
    change a fit return whether the attempt was still the fit's own, or of which fits it was; the others are unchanged.
    """

    def __init__(self, pool: Pool, most: int) -> None:
        self._pool = pool
        self._most = most

    async def begin(self, fit_id: UUID, job_id: int) -> Attempt | None:
        """Start the fit, or start it again; None where it is finished, used up, or no longer this job's.

        What an earlier attempt wrote down is gone with that. One that is to be cancelled becomes so instead.
        """
        begun = await self.begin_together(fit_id, job_id)
        return begun[0] if begun else None

    async def begin_together(
        self, fit_id: UUID, job_id: int, worker_id: int | None = None, most_others: int = 0, most_bytes: int = 0
    ) -> list[Attempt]:
        """The same, and start other fits with it, which it then comes before; no fits where it is not to be started.

        Parameters
        ----------
        worker_id
            Who is to have the other fits' jobs: a row in `procrastinate_workers`.
        most_others, most_bytes
            How many fits may be started with it, and how large the datasets of those are together. They are the next
            ones of the queue that are tiny, and there are none if this one is not.
        """
        values = {"id": fit_id, "job_id": job_id, "channel": CHANNEL}
        asked = {"most": self._most, "worker_id": worker_id, "company": most_others, "bytes": most_bytes}
        async with self._pool.connection() as connection:
            # Binary: as text, PostgreSQL would send two hexadecimal characters a byte.
            cursor = await connection.execute(BEGIN, values | asked | {"sources": sources("running")}, binary=True)
            rows = await cursor.fetchall()
            if not rows:
                await connection.execute(DISMISS, values | {"sources": sources("cancelled")})
        return [Attempt(**{name: row[name] for name in _ATTEMPT}) for row in rows]

    def is_last(self, attempt: Attempt) -> bool:
        return attempt.number >= self._most

    async def is_to_stop(self, attempt: Attempt) -> bool | None:
        """Whether somebody asked for the fit to be cancelled; None where it is no longer this attempt's."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_IS_TO_STOP, _guard(attempt, "running"))
            row = await cursor.fetchone()
        return None if row is None else row["is_to_stop"]

    async def progress(self, attempt: Attempt, progress: FitProgress) -> bool:
        """Note how far it has got."""
        async with self._pool.connection() as connection:
            return await change(
                connection, attempt, "running", "progress = %(progress)s", progress=PROGRESS.encode(progress)
            )

    async def keep(self, attempt: Attempt, part: Part) -> bool:
        """Store a part of the trajectory; again, if it is not known whether that came to pass."""
        async with self._pool.connection() as connection:
            return await _insert(connection, attempt, part)

    async def glimpse(self, attempt: Attempt, glimpse: Glimpse) -> bool:
        """Store a glimpse of the trajectory, as `keep` does a part; those who watch hear of it with the next news."""
        async with self._pool.connection() as connection:
            return await _insert(connection, attempt, glimpse)

    async def succeed(self, attempt: Attempt, solved: Solved) -> bool:
        """Store the answer, the last part of the trajectory and where it ended, and finish the fit."""
        return bool(await self.finish([(attempt, solved)]))

    async def fail(self, attempt: Attempt, error: FitError) -> bool:
        """Finish the fit with the reason; what it wrote down is gone."""
        return bool(await self.finish([(attempt, error)]))

    async def cancelled(self, attempt: Attempt, solved: Solved | None) -> bool:
        """Finish the fit as cancelled, with what it had come to; parts of the trajectory that are stored stay."""
        return bool(await self.finish([(attempt, Cancelled(solved))]))

    async def finish(self, ends: Sequence[tuple[Attempt, Ending]]) -> set[UUID]:
        """Finish the fits, and delete the jobs of the attempts, by one statement; return which fits it was for."""
        finish = [{"id": attempt.fit_id} | end_values(ending) for attempt, ending in ends]
        values = _hand([attempt for attempt, _ in ends]) | ENDS.many_values(finish)
        values |= LAST_PARTS.many_values(_last_parts(ends))
        return await self._change(FINISH, values | {"sources": sources("succeeded")})

    async def release(self, *attempts: Attempt) -> set[UUID]:
        """Put the fits back into the queue, as if these attempts had not been; return which it was done with.

        Those that are to be cancelled become so instead.
        """
        return await self._change(RELEASE, _hand(attempts) | {"sources": sources("queued")})

    async def _change(self, statement: LiteralString, values: dict[str, Any]) -> set[UUID]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, values | {"channel": CHANNEL})
            return {row["id"] for row in await cursor.fetchall()}


async def fail(connection: Connection, fence: Fence, error: FitError) -> bool:
    """Finish the fit with the reason; what it wrote down is gone. The caller commits."""
    failed = await change(
        connection, fence, "failed", "error = %(error)s, digest = NULL, finished_at = now()", error=ERROR.encode(error)
    )
    if failed:
        await _forget_parts(connection, fence.fit_id)
    return failed


async def assign_job(connection: Connection, queue: FitQueue, fit_id: UUID) -> None:
    """Give the fit a new job of its priority; any older job of its can do nothing from now on. The caller commits."""
    cursor = await connection.execute("SELECT priority FROM fit WHERE id = %s", [fit_id])
    [row] = await cursor.fetchall()
    job_id = await queue.enqueue(connection, fit_id, row["priority"])
    await connection.execute("UPDATE fit SET job_id = %s WHERE id = %s", [job_id, fit_id])


async def change(connection: Connection, fence: Fence, status: FitStatus, assignments: str, **values: Any) -> bool:
    """Give the fit this status and what else is assigned, if it is still within the fence. The caller commits."""
    forgotten = _FORGET_GLIMPSES if status in _WITHOUT_GLIMPSES else ""
    query = sql.SQL(_CHANGE).format(assignments=sql.SQL(assignments), forgotten=sql.SQL(forgotten), channel=CHANNEL)
    cursor = await connection.execute(query, {**_guard(fence, status), "sources": sources(status), **values})
    return cursor.rowcount == 1


def _guard(fence: Fence, status: FitStatus) -> dict[str, Any]:
    return {"id": fence.fit_id, "attempt": fence.number, "job_id": fence.job_id, "status": status}


async def _insert(connection: Connection, fence: Fence, piece: Piece) -> bool:
    statement = _INSERT_GLIMPSE if isinstance(piece, Glimpse) else _INSERT_PART
    cursor = await connection.execute(statement, _guard(fence, "running") | part_values(piece))
    return cursor.rowcount == 1


async def _forget_parts(connection: Connection, fit_id: UUID) -> None:
    await connection.execute(_FORGET, {"id": fit_id})


def _hand(attempts: Sequence[Attempt]) -> dict[str, Any]:
    fences = [{"id": each.fit_id, "attempt": each.number, "job_id": each.job_id} for each in attempts]
    return HAND.many_values(fences)


def _last_parts(ends: Sequence[tuple[Attempt, Ending]]) -> list[dict[str, Any]]:
    solved = [(attempt.fit_id, solution_of(ending)) for attempt, ending in ends]
    return [{"id": fit_id} | part_values(each.last_part) for fit_id, each in solved if each and each.last_part]


_ATTEMPT = tuple(field.name for field in fields(Attempt))

_IS_TO_STOP = """
SELECT cancel_requested_at IS NOT NULL AS is_to_stop FROM fit
WHERE id = %(id)s AND attempt = %(attempt)s AND job_id = %(job_id)s AND status = %(status)s
"""

_FORGET = """
WITH glimpses AS (DELETE FROM trajectory_glimpse WHERE fit_id = %(id)s)
DELETE FROM trajectory_block WHERE fit_id = %(id)s
"""

# The notice goes out if and when the change commits.
_CHANGE = """
WITH changed AS (
    UPDATE fit SET status = %(status)s, version = version + 1, {assignments}
    WHERE id = %(id)s AND attempt = %(attempt)s AND job_id IS NOT DISTINCT FROM %(job_id)s
        AND status = ANY(%(sources)s)
    RETURNING id
){forgotten}
SELECT pg_notify({channel}, id::text) FROM changed
"""

# There is something better to see, or nothing. What was seen of a fit that is cancelled may be all that is left of it.
_WITHOUT_GLIMPSES: frozenset[FitStatus] = frozenset({"queued", "succeeded", "failed"})
_FORGET_GLIMPSES = ", glimpses AS (DELETE FROM trajectory_glimpse USING changed WHERE fit_id = changed.id)"

# Locked, so that whoever takes the fit away, and forgets the parts, does so before this or sees it. The same part may
# come twice, where the database went away before it had said that the first was stored.
_INSERT = """
WITH mine AS (
    SELECT id FROM fit
    WHERE id = %(id)s AND attempt = %(attempt)s AND job_id IS NOT DISTINCT FROM %(job_id)s AND status = %(status)s
    FOR SHARE
)
INSERT INTO {} (fit_id, ordinal, account, rows, first_step, last_step, body)
SELECT id, %(ordinal)s, %(account)s, %(rows)s, %(first_step)s, %(last_step)s, %(body)s FROM mine
ON CONFLICT (fit_id, ordinal) DO UPDATE SET account = excluded.account, rows = excluded.rows,
    first_step = excluded.first_step, last_step = excluded.last_step, body = excluded.body
"""
_INSERT_PART, _INSERT_GLIMPSE = _INSERT.format("trajectory_block"), _INSERT.format("trajectory_glimpse")
