"""A light look at a fit: how it stands and the glimpses of its trajectory that are new, by one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from service.database.pool import Pool
from service.fitting.descent.account import Account
from service.fitting.trajectory import Trajectory
from service.jobs.records import ERROR, PROGRESS, FitError, FitProgress, FitStatus


@dataclass(frozen=True)
class Start:
    """What tells one start of a fit from another: a shutdown takes one back, and the next has the same number."""

    attempt: int = 0
    job_id: int | None = None


@dataclass(frozen=True)
class FitState:
    """How a fit stands.

    Attributes
    ----------
    outcome
        The kind of the outcome; None where there is no result.
    """

    status: FitStatus
    start: Start
    parent: UUID | None
    outcome: str | None
    error: FitError | None


@dataclass(frozen=True, eq=False)
class Sight:
    """What one look saw. `glimpses` are rows in ascending order of step, all after those that were known."""

    state: FitState
    progress: FitProgress | None
    glimpses: Sequence[Trajectory]


class Looker:
    """Looks at one fit again and again, and remembers which glimpses it has seen."""

    def __init__(self, pool: Pool, fit_id: UUID) -> None:
        self._pool = pool
        self._fit_id = fit_id
        self._start = Start()
        self._known = -1
        self._account: Account | None = None

    async def look(self) -> Sight | None:
        """The fit as it stands; None where there is none. Of a new start, the glimpses come from its first one on.

        Raises `psycopg.OperationalError` while the database is away.
        """
        known = {"id": self._fit_id, "known": self._known, "attempt": self._start.attempt, "job_id": self._start.job_id}
        async with self._pool.connection() as connection:
            # Binary: as text, PostgreSQL would send two hexadecimal characters a byte.
            cursor = await connection.execute(_LOOK, known, binary=True)
            rows = await cursor.fetchall()
        return self._sight(rows) if rows else None

    def _sight(self, rows: Sequence[dict[str, Any]]) -> Sight:
        first = rows[0]
        start = Start(first["attempt"], first["job_id"])
        if start != self._start:
            self._start, self._known, self._account = start, -1, None
        glimpses = [self._rows_of(row) for row in rows if row["ordinal"] is not None]
        state = FitState(
            status=first["status"],
            start=start,
            parent=first["parent"],
            outcome=first["outcome"],
            error=None if first["error"] is None else ERROR.decode(first["error"]),
        )
        progress = None if first["progress"] is None else PROGRESS.decode(first["progress"])
        return Sight(state, progress, glimpses)

    def _rows_of(self, row: dict[str, Any]) -> Trajectory:
        self._known = row["ordinal"]
        if row["account"] is not None:
            self._account = Account.from_bytes(row["account"])
        assert self._account is not None, "the first glimpse has the account"
        return Trajectory(self._account, np.frombuffer(row["body"], self._account.layout))


# The glimpses are those of the row's own start: both are seen as they were at one moment.
_LOOK = """
SELECT fit.status, fit.attempt, fit.job_id, fit.parent, fit.progress::text AS progress, fit.error::text AS error,
    fit.result #>> '{report,outcome,kind}' AS outcome, seen.ordinal, seen.account, seen.body
FROM fit LEFT JOIN trajectory_glimpse seen ON seen.fit_id = fit.id AND seen.ordinal > CASE
    WHEN fit.attempt = %(attempt)s AND fit.job_id IS NOT DISTINCT FROM %(job_id)s THEN %(known)s ELSE -1 END
WHERE fit.id = %(id)s
ORDER BY seen.ordinal
"""
