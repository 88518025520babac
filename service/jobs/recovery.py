"""Finds fits that nobody works at, whatever became of their worker or their job, and gives them another chance.

A fit is in good hands as long as its own job waits in the queue, or is being done by a worker that is alive. All else
is lost: no job, a job that ended without its fit, a job whose worker is dead or pruned; and a job that this very worker
is said to do and does not (procrastinate issue 1518).

Whoever seems dead is looked at again before it is believed: when the database itself has just come back, every worker
seems dead until its heart has beaten again. Only looks count for that, no clock: while the database is away there are
none.
"""

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from service.database.pool import Connection, Pool, transaction
from service.jobs.attempts import CHANNEL
from service.jobs.heart import IS_ALIVE
from service.jobs.queue import DEFERRED, QUEUE
from service.jobs.records import ERROR, FitError, FitStatus
from service.jobs.transitions import sources

logger = logging.getLogger(__name__)

# One worker at a time looks for lost fits; any constant will do that nobody else locks.
_LOCK = 0x666974

# All that wait in the queue are gone through at the first of so many sweeps. Only by somebody's hand do they lose a job
# that nobody fetched.
_THOROUGH = 12


class Recovery:
    """Sweeps up lost fits. One for each worker."""

    def __init__(self, pool: Pool, most_attempts: int) -> None:
        self._pool = pool
        self._most = most_attempts
        self._suspects: Set[int] = frozenset()
        self._sweeps = 0

    async def sweep(self, worker_id: int | None, running: Set[int]) -> int:
        """Put lost fits back into the queue, or end those that were cancelled or started often enough; return how many.

        Raises what is in `UNAVAILABLE` while the database is away.

        Parameters
        ----------
        worker_id, running
            The caller's row among the workers, if it has one, and the jobs that it is really doing.
        """
        before, self._suspects = self._suspects, frozenset()
        async with transaction(self._pool) as connection:
            if not await _is_alone(connection):
                self._suspects = before
                return 0
            suspects = await _suspects(connection, worker_id, running)
            abandoned = suspects & before
            is_thorough = self._sweeps % _THOROUGH == 0
            lost = await _lost(connection, abandoned, thorough=is_thorough)
            await self._recover(connection, lost)
            # Those of fits that are finished or deleted go too.
            await _delete_jobs(connection, abandoned | {fit.job_id for fit in lost if fit.job_id is not None})
            if is_thorough:
                await connection.execute(_DELETE_DEAD_WORKERS)
        self._suspects = suspects - abandoned
        self._sweeps += 1
        return len(lost)

    async def _recover(self, connection: Connection, lost: Sequence["_Lost"]) -> None:
        by_end: dict[FitStatus, list[_Lost]] = {}
        for fit in lost:
            by_end.setdefault(self._end(fit), []).append(fit)
        for status, fits in by_end.items():
            logger.warning("Fits that were lost are %s now: %s", status, ", ".join(map(str, fits)))
            error = ERROR.encode(_used_up(self._most)) if status == "failed" else None
            values = {"ids": [fit.id for fit in fits], "status": status, "sources": _sources(status), "error": error}
            await connection.execute(_RECOVER[status], values)

    def _end(self, fit: "_Lost") -> FitStatus:
        if fit.is_cancelled:
            return "cancelled"
        return "failed" if fit.attempt >= self._most else "queued"


@dataclass(frozen=True)
class _Lost:
    """A fit that is locked until the transaction ends."""

    id: UUID
    attempt: int
    job_id: int | None
    is_cancelled: bool

    def __str__(self) -> str:
        return f"{self.id} (attempt {self.attempt})"


async def _is_alone(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", [_LOCK])
    row = await cursor.fetchone()
    return row is not None and bool(row["alone"])


async def _suspects(connection: Connection, worker_id: int | None, running: Set[int]) -> Set[int]:
    values = {"queue": QUEUE, "worker_id": worker_id, "running": list(running)}
    cursor = await connection.execute(_SELECT_SUSPECTS, values)
    return {row["id"] for row in await cursor.fetchall()}


async def _lost(connection: Connection, abandoned: Set[int], *, thorough: bool) -> list[_Lost]:
    query = _SELECT_LOST_OF_ALL if thorough else _SELECT_LOST
    cursor = await connection.execute(query, {"abandoned": list(abandoned)})
    return [_Lost(**row) for row in await cursor.fetchall()]


async def _delete_jobs(connection: Connection, ids: Set[int]) -> None:
    if ids:
        await connection.execute("DELETE FROM procrastinate_jobs WHERE id = ANY(%s)", [list(ids)])


def _sources(status: FitStatus) -> list[FitStatus]:
    # One that is queued, and has lost its job, stays so and gets another.
    return [*sources(status), status]


def _used_up(attempts: int) -> FitError:
    return FitError(
        "crashed",
        f"The worker that ran the fit was lost, in the last of {attempts} attempts. It is not tried again.",
    )


# The caller's own running jobs are in good hands: after a sleep of the whole machine its heart, too, seems dead. Those
# that it does not run may be between their fetching and their first line.
_SELECT_SUSPECTS = f"""
SELECT job.id
FROM procrastinate_jobs job
LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
WHERE job.status = 'doing' AND job.queue_name = %(queue)s AND job.id <> ALL(%(running)s::bigint[])
    AND (worker.id IS NULL OR worker.id = %(worker_id)s OR NOT {IS_ALIVE})
"""

_FETCHED = """
AND fit.id IN (
    SELECT id FROM fit WHERE status = 'running'
    UNION SELECT (args->>'fit_id')::uuid FROM procrastinate_jobs WHERE id = ANY(%(abandoned)s::bigint[])
)
"""

# Dead for so long that nobody has any doubt. While a job says that it is theirs, the row stays: with it the job's word
# would go.
_DELETE_DEAD_WORKERS = f"""
DELETE FROM procrastinate_workers worker
WHERE NOT {IS_ALIVE} AND last_heartbeat < now() - interval '1 hour'
    AND NOT EXISTS (SELECT FROM procrastinate_jobs WHERE worker_id = worker.id)
"""


def _select_lost(among: LiteralString = "") -> LiteralString:
    return f"""
SELECT fit.id, fit.attempt, fit.job_id, fit.cancel_requested_at IS NOT NULL AS is_cancelled
FROM fit
LEFT JOIN procrastinate_jobs job ON job.id = fit.job_id
WHERE fit.status IN ('queued', 'running') {among}
    AND (job.id IS NULL OR job.status NOT IN ('todo', 'doing') OR job.id = ANY(%(abandoned)s::bigint[]))
ORDER BY fit.created_at, fit.id
FOR UPDATE OF fit
"""


_SELECT_LOST = _select_lost(_FETCHED)
_SELECT_LOST_OF_ALL = _select_lost()


_CHANGED = """
changed AS (
    UPDATE fit SET version = version + 1, finished_at = now(), digest = NULL, status = %(status)s, error = %(error)s
    WHERE id = ANY(%(ids)s) AND status = ANY(%(sources)s)
    RETURNING id
)
"""

_NOTIFIED = f"SELECT pg_notify('{CHANNEL}', id::text) FROM changed"

# What a fit recorded before it was cancelled stays.
_CANCEL = f"WITH {_CHANGED} {_NOTIFIED}"

_FAIL = f"""
WITH {_CHANGED}, parts AS (
    DELETE FROM trajectory_block USING changed WHERE fit_id = changed.id
), glimpses AS (
    DELETE FROM trajectory_glimpse USING changed WHERE fit_id = changed.id
)
{_NOTIFIED}
"""

# In the order in which they came.
_QUEUE_AGAIN = f"""
WITH lost AS (
    SELECT id, priority, row_number() OVER (ORDER BY created_at, id) AS number FROM fit WHERE id = ANY(%(ids)s)
), deferred AS (
    SELECT {DEFERRED} AS ids FROM lost
), changed AS (
    UPDATE fit SET version = version + 1, progress = NULL, status = %(status)s, job_id = job.id
    FROM lost JOIN (SELECT job.* FROM deferred, unnest(ids) WITH ORDINALITY AS job (id, number)) job USING (number)
    WHERE fit.id = lost.id AND fit.status = ANY(%(sources)s)
    RETURNING fit.id
)
{_NOTIFIED}
"""

_RECOVER: dict[FitStatus, LiteralString] = {"queued": _QUEUE_AGAIN, "cancelled": _CANCEL, "failed": _FAIL}
