"""How the queue is doing, and which fits it has given up, for operators and what scales the workers."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.database.pool import Pool
from service.jobs.heart import IS_ALIVE
from service.jobs.records import ERROR, FitError

#: Over so long rates are taken.
WINDOW_SECONDS = 60


@dataclass(frozen=True)
class Line:
    """The fits of one priority that are queued: how many, and how many seconds the first of them has waited."""

    priority: int
    depth: int
    oldest: float


@dataclass(frozen=True)
class QueueReport:
    """The queue at one moment. Fits that were solved where they were asked for never were in it.

    Attributes
    ----------
    depth, running
        How many fits are queued, and running.
    oldest
        Seconds since the oldest of those queued was put into the queue; None where none is.
    arrivals, rate
        Fits a second, over `WINDOW_SECONDS`, that were submitted and that were finished, however they ended.
    workers, busy
        Workers whose heart beats, and how many of those have fetched a job.
    lines
        The queued ones by priority, in the order in which they are begun.
    """

    depth: int
    running: int
    oldest: float | None
    arrivals: float
    rate: float
    workers: int
    busy: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class DeadLetter:
    """A fit that has failed, and waits for somebody to retry or delete it."""

    id: UUID
    labels: dict[str, str]
    attempt: int
    failed_at: datetime
    error: FitError


class QueueReporter:
    """Looks at the queue. Its methods raise what is in `UNAVAILABLE` while the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def report(self) -> QueueReport:
        """Return the queue as it is. The cost is that of what waits, and of what came and went in a minute."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SELECT_LINES)
            lines = tuple(Line(**row) for row in await cursor.fetchall())
            cursor = await connection.execute(_SELECT_COUNTS, {"window": WINDOW_SECONDS})
            [counts] = await cursor.fetchall()
        return QueueReport(
            depth=sum(line.depth for line in lines),
            running=counts["running"],
            oldest=max((line.oldest for line in lines), default=None),
            arrivals=counts["submitted"] / WINDOW_SECONDS,
            rate=counts["finished"] / WINDOW_SECONDS,
            workers=counts["workers"],
            busy=counts["busy"],
            lines=lines,
        )

    async def dead_letters(self, size: int, before: tuple[datetime, UUID] | None) -> list[DeadLetter]:
        """Up to `size` fits that have failed, the latest failure first.

        Parameters
        ----------
        before
            When the last one of the page before failed, and its id; None for the first page.
        """
        failed_at, last_id = before or (None, None)
        condition = "" if before is None else _BEFORE
        query = f"SELECT {_LETTER} FROM fit WHERE status = 'failed' {condition} {_LATEST_FIRST}"
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, {"failed_at": failed_at, "id": last_id, "size": size})
            rows = await cursor.fetchall()
        return [DeadLetter(**row | {"error": ERROR.decode(row["error"])}) for row in rows]


_SELECT_LINES = """
SELECT priority, count(*) AS depth, extract(epoch FROM now() - min(queued_at))::float8 AS oldest
FROM fit WHERE status = 'queued' GROUP BY priority ORDER BY priority DESC
"""

_SELECT_COUNTS = f"""
WITH alive AS (SELECT id FROM procrastinate_workers worker WHERE {IS_ALIVE})
SELECT
    (SELECT count(*) FROM fit WHERE status = 'running') AS running,
    (SELECT count(*) FROM fit
        WHERE created_at > now() - make_interval(secs => %(window)s) AND job_id IS NOT NULL) AS submitted,
    (SELECT count(*) FROM fit
        WHERE finished_at > now() - make_interval(secs => %(window)s) AND job_id IS NOT NULL) AS finished,
    (SELECT count(*) FROM alive) AS workers,
    (SELECT count(*) FROM alive
        WHERE EXISTS (SELECT FROM procrastinate_jobs WHERE worker_id = alive.id AND status = 'doing')) AS busy
"""

_LETTER = "id, labels, attempt, finished_at AS failed_at, error::text AS error"
_BEFORE = "AND (finished_at, id) < (%(failed_at)s, %(id)s)"
_LATEST_FIRST = "ORDER BY finished_at DESC, id DESC LIMIT %(size)s"
