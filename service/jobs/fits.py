"""The fits of the database, as those who ask for them see them: submitted, read, listed."""

import json
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

from psycopg.rows import DictRow

from service.database.pool import Pool, transaction
from service.datasets import store as datasets
from service.fitting.data import Dataset
from service.fitting.task import FitTask
from service.fitting.trajectory import Trajectory
from service.jobs.archive import ArchivedTrajectory
from service.jobs.messages import Solved
from service.jobs.queue import FitQueue
from service.jobs.records import ERROR, PROGRESS, RESULT, TASK, Codec, FitRecord, FitStatus, Result, T
from service.jobs.trajectories import EVERY_ROW, PART_COLUMNS, Rows, part_values, read_trajectory


class FitStore:
    """Submits and reads fits. Every method raises `psycopg.OperationalError` while the database is away."""

    def __init__(self, pool: Pool, queue: FitQueue) -> None:
        self._pool = pool
        self._queue = queue

    async def submit(
        self,
        dataset: Dataset,
        task: FitTask,
        request: dict[str, Any],
        labels: dict[str, str],
        start_state: bytes | None = None,
        parent: UUID | None = None,
    ) -> FitRecord:
        """Store dataset, fit and job in one transaction: an accepted fit has a job, a refused one leaves nothing.

        Parameters
        ----------
        request
            What was asked, for the answer to show; kept as it is.
        start_state
            Where the fit ended that this one starts from, as `Standing.to_bytes` makes it: a copy of its own, so that
            it does not depend on that fit any more.
        parent
            The fit whose remedy this one is.
        """
        fit_id = uuid4()
        values = _asked(fit_id, task, request, labels, start_state, parent)
        async with transaction(self._pool) as connection:
            dataset_id = await datasets.insert(connection, dataset)
            job_id = await self._queue.enqueue(connection, fit_id)
            cursor = await connection.execute(_INSERT, values | {"dataset_id": dataset_id, "job_id": job_id})
            [row] = await cursor.fetchall()
        return _record(row)

    async def store(
        self,
        dataset: Dataset,
        task: FitTask,
        request: dict[str, Any],
        labels: dict[str, str],
        solved: Solved,
        start_state: bytes | None = None,
        parent: UUID | None = None,
    ) -> FitRecord:
        """Store dataset and fit, solved already, by one statement: it needs no job.

        In everything that can be seen it is as if it had been submitted, and solved at its first attempt.
        """
        fit_id = uuid4()
        values = _asked(fit_id, task, request, labels, start_state, parent) | datasets.values(dataset)
        values |= {"result": RESULT.encode(Result(solved.report, solved.trajectory)), "end_state": solved.end_state}
        values["progress"] = None if solved.progress is None else PROGRESS.encode(solved.progress)
        statement = _INSERT_SOLVED
        if solved.last_part is not None:
            statement = _INSERT_SOLVED_WITH_PART
            # A dataset has rows and a body too.
            values |= {f"part_{name}": value for name, value in part_values(solved.last_part).items()}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, values)
            [row] = await cursor.fetchall()
        return FitRecord(
            id=fit_id,
            parent=parent,
            dataset_id=dataset.digest,
            request=request,
            labels=labels,
            progress=solved.progress,
            report=solved.report,
            trajectory=solved.trajectory,
            error=None,
            **row,
        )

    async def get(self, fit_id: UUID) -> FitRecord | None:
        """Return the fit, or None where there is none."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(f"SELECT {_COLUMNS} FROM fit WHERE id = %s", [fit_id])
            row = await cursor.fetchone()
        return None if row is None else _record(row)

    async def task(self, fit_id: UUID) -> FitTask | None:
        """Return what is fitted and how, or None where there is no such fit."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT task::text AS task FROM fit WHERE id = %s", [fit_id])
            row = await cursor.fetchone()
        return None if row is None else TASK.decode(row["task"])

    async def end_state(self, fit_id: UUID) -> bytes | None:
        """Return where the fit ended, as `Standing.to_bytes` made it; None where that is not known."""
        return await self._state("SELECT end_state AS state FROM fit WHERE id = %s", fit_id)

    async def start_state(self, fit_id: UUID) -> bytes | None:
        """Return where the fit ended that this one starts from; None where it starts from none."""
        return await self._state("SELECT start_state AS state FROM fit WHERE id = %s", fit_id)

    async def _state(self, query: LiteralString, fit_id: UUID) -> bytes | None:
        async with self._pool.connection() as connection:
            # Binary: as text, PostgreSQL would send two hexadecimal characters a byte.
            cursor = await connection.execute(query, [fit_id], binary=True)
            row = await cursor.fetchone()
        return None if row is None else row["state"]

    async def page(
        self,
        *,
        status: FitStatus | None,
        parent: UUID | None,
        labels: dict[str, str],
        size: int,
        before: tuple[datetime, UUID] | None,
    ) -> list[FitRecord]:
        """Up to `size` fits, newest first.

        Parameters
        ----------
        status, parent, labels
            What all of them have; None and {} for any.
        before
            Creation time and id of the last fit of the page before; None for the first page.
        """
        shared = json.dumps(labels) if labels else None
        wanted = {"status": status, "parent": parent, "labels": shared, "before": before}
        # Only the conditions that are asked for: PostgreSQL cannot use an index through "is null or".
        conditions = [_CONDITIONS[name] for name, value in wanted.items() if value is not None]
        created_at, last_id = before or (None, None)
        query = f"SELECT {_COLUMNS} FROM fit WHERE {' AND '.join(['true', *conditions])} {_NEWEST_FIRST}"
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, wanted | {"created_at": created_at, "id": last_id, "size": size})
            rows = await cursor.fetchall()
        return [_record(row) for row in rows]

    async def trajectory(self, fit_id: UUID, wanted: Rows = EVERY_ROW) -> Trajectory | ArchivedTrajectory | None:
        """Return what was recorded, or None where nothing is: no such fit, not finished, or no steps taken."""
        return await read_trajectory(self._pool, fit_id, wanted)


def _asked(
    fit_id: UUID,
    task: FitTask,
    request: dict[str, Any],
    labels: dict[str, str],
    start_state: bytes | None,
    parent: UUID | None,
) -> dict[str, Any]:
    texts = {"request": json.dumps(request), "task": TASK.encode(task), "labels": json.dumps(labels)}
    return {"id": fit_id, "start_state": start_state, "parent": parent, **texts}


def _record(row: DictRow) -> FitRecord:
    result = _decode(RESULT, row["result"])
    return FitRecord(
        **{name: row[name] for name in _PLAIN},
        progress=_decode(PROGRESS, row["progress"]),
        report=None if result is None else result.report,
        trajectory=None if result is None else result.trajectory,
        error=_decode(ERROR, row["error"]),
    )


def _decode(codec: Codec[T], text: str | None) -> T | None:
    return None if text is None else codec.decode(text)


_PLAIN = (
    "id",
    "status",
    "version",
    "attempt",
    "parent",
    "dataset_id",
    "request",
    "labels",
    "created_at",
    "started_at",
    "finished_at",
)
_ENCODED = ("progress", "result", "error")
_COLUMNS = ", ".join([*_PLAIN, *(f"{name}::text AS {name}" for name in _ENCODED)])

_INSERT = f"""
INSERT INTO fit (id, status, parent, dataset_id, job_id, request, task, labels, start_state)
VALUES (%(id)s, 'queued', %(parent)s, %(dataset_id)s, %(job_id)s, %(request)s, %(task)s, %(labels)s, %(start_state)s)
RETURNING {_COLUMNS}
"""

_INSERT_FINISHED = """
INSERT INTO fit (
    id, status, attempt, parent, dataset_id, request, task, labels, progress, result, start_state, end_state,
    started_at, finished_at
)
VALUES (
    %(id)s, 'succeeded', 1, %(parent)s, %(dataset_id)s, %(request)s, %(task)s, %(labels)s, %(progress)s, %(result)s,
    %(start_state)s, %(end_state)s, now(), now()
)
RETURNING id, status, version, attempt, created_at, started_at, finished_at
"""
_ANSWERED = "status, version, attempt, created_at, started_at, finished_at"

_INSERT_SOLVED = f"""
WITH stored AS ({datasets.INSERT}), finished AS ({_INSERT_FINISHED})
SELECT {_ANSWERED} FROM finished
"""

_INSERT_SOLVED_WITH_PART = f"""
WITH stored AS ({datasets.INSERT}), finished AS ({_INSERT_FINISHED}), written AS (
    INSERT INTO trajectory_block (fit_id, {", ".join(PART_COLUMNS)})
    SELECT id, {", ".join(f"%(part_{name})s" for name in PART_COLUMNS)} FROM finished
)
SELECT {_ANSWERED} FROM finished
"""

_CONDITIONS = {
    "status": "status = %(status)s",
    "parent": "parent = %(parent)s",
    "labels": "labels @> %(labels)s::jsonb",
    "before": "(created_at, id) < (%(created_at)s, %(id)s)",
}
_NEWEST_FIRST = "ORDER BY created_at DESC, id DESC LIMIT %(size)s"
