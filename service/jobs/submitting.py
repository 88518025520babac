"""The statements that take fits on.

However many fits are asked for at once, one statement stores their datasets, their jobs, the fits and the key they came
under, or nothing of it: an accepted fit has a job, a refused one leaves nothing behind.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow

from service.database.pool import Connection
from service.datasets import store as datasets
from service.fitting.data import Dataset
from service.jobs.asked import Asked, Key
from service.jobs.brought_rows import BroughtRows
from service.jobs.inline import is_tiny
from service.jobs.messages import Solved
from service.jobs.queue import DEFERRED
from service.jobs.records import PROGRESS, RESULT, FitRecord, FitStatus, Result
from service.jobs.rows import COLUMNS, NAMES, record_of
from service.jobs.trajectories import PART_COLUMNS, part_values


class KeyTaken(Exception):
    """A request with the same key is stored already."""


@dataclass(frozen=True)
class Taken:
    """A fit that was taken on.

    Attributes
    ----------
    cached
        It had been finished before, by an identical request; else it is queued, since `created_at`.
    """

    id: UUID
    cached: bool
    created_at: datetime

    @property
    def status(self) -> FitStatus:
        return "succeeded" if self.cached else "queued"


@dataclass(frozen=True)
class Named:
    """A fit that a key stands for; no status is that of one that has been deleted."""

    id: UUID
    status: FitStatus | None


@dataclass(frozen=True)
class Submission:
    """What a request with a key came to, and that request's digest."""

    digest: bytes
    fits: list[Named]


async def submission_under(connection: Connection, key: str) -> Submission | None:
    """What the request with this key came to; None where there was none, or all its fits have been deleted."""
    cursor = await connection.execute(_SELECT_SUBMISSION, [key])
    rows = await cursor.fetchall()
    if any(row["status"] is not None for row in rows):
        return Submission(rows[0]["digest"], [Named(row["id"], row["status"]) for row in rows])
    if rows:
        # By its fits, too: the key may have been given to others in the meantime.
        await connection.execute(_FREE, {"key": key, "fits": [row["id"] for row in rows]})
    return None


async def queue_fits(
    connection: Connection, asked: Sequence[Asked], inline: Sequence[Dataset], key: Key | None, *, fresh: bool
) -> list[Taken]:
    """Queue the fits, but for those that an identical finished one answers.

    Parameters
    ----------
    inline
        Those of their datasets that go into their rows; the others are there already.
    fresh
        Whether finished fits answer nothing.

    Raises
    ------
    KeyTaken
        A request with the same key is stored already.
    psycopg.errors.ForeignKeyViolation
        A dataset was removed meanwhile. Nothing is stored; it may be tried again.
    """
    fits, bodies = [_values(item) for item in asked], [datasets.values(dataset) for dataset in inline]
    conditions = _conditions(key, fresh)
    if len(fits) == len(bodies) == 1:
        values = _FITS.one_values(fits[0]) | _DATASETS.one_values(bodies[0])
        rows = await _stored(connection, _QUEUE_ONE, values | conditions)
    else:
        values = _FITS.many_values(fits) | _DATASETS.many_values(bodies)
        rows = await _stored(connection, _QUEUE, values | conditions)
    return [Taken(**row) for row in rows]


async def store_solved(
    connection: Connection, asked: Asked, solved: Solved, key: Key | None, *, is_inline: bool, fresh: bool
) -> FitRecord:
    """Store a fit that is solved already, and its dataset, unless an identical finished fit answers it.

    It needs no job. In everything that can be seen it is as if it had been queued, and solved at its first attempt.
    Exceptions, and what is not said here, are as with `queue_fits`.

    Parameters
    ----------
    is_inline
        Whether its dataset goes into its row; else it is there already.
    """
    values = _FITS.one_values(_values(asked)) | _end_values(solved) | _conditions(key, fresh)
    if is_inline:
        values |= _DATASETS.one_values(datasets.values(asked.dataset))
    [row] = await _stored(connection, _STORE[is_inline, solved.last_part is not None], values)
    if row.pop("cached"):
        return record_of(row, cached=True)
    return FitRecord(
        **{name: row[name] for name in _NEW},
        parent=asked.parent,
        dataset_id=asked.dataset.digest,
        request=dict(asked.request),
        labels=dict(asked.labels),
        progress=solved.progress,
        report=solved.report,
        trajectory=solved.trajectory,
        error=None,
    )


async def _stored(connection: Connection, statement: LiteralString, values: dict[str, Any]) -> list[DictRow]:
    try:
        cursor = await connection.execute(statement, values)
    except UniqueViolation as error:
        raise KeyTaken from error
    return await cursor.fetchall()


def _values(asked: Asked) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "parent": asked.parent,
        "dataset_id": asked.dataset.digest,
        "request": json.dumps(asked.request),
        "task": asked.task_text,
        "labels": json.dumps(asked.labels),
        "priority": asked.priority,
        "digest": asked.digest,
        "is_tiny": is_tiny(asked.task, asked.dataset),
        "start_state": asked.start_state,
    }


def _end_values(solved: Solved) -> dict[str, Any]:
    part = {} if solved.last_part is None else part_values(solved.last_part)
    return {f"part_{name}": value for name, value in part.items()} | {
        "progress": None if solved.progress is None else PROGRESS.encode(solved.progress),
        "result": RESULT.encode(Result(solved.report, solved.trajectory)),
        "end_state": solved.end_state,
    }


def _conditions(key: Key | None, fresh: bool) -> dict[str, Any]:
    return {
        "key": None if key is None else key.name,
        "key_digest": None if key is None else key.digest,
        "fresh": fresh,
    }


_FIT_TYPES = {
    "id": "uuid",
    "parent": "uuid",
    "dataset_id": "text",
    "request": "text",
    "task": "text",
    "labels": "text",
    "priority": "smallint",
    "digest": "bytea",
    "is_tiny": "boolean",
    "start_state": "bytea",
}
_FITS = BroughtRows("fit_asked", _FIT_TYPES)
_DATASETS = BroughtRows("dataset", {"dataset_id": "text", "rows": "bigint", "columns": "text", "body": "bytea"})

_ASKED = "id, parent, dataset_id, request::json, task::json, labels::jsonb, priority, digest, is_tiny, start_state"


def _queue(fits: str, dataset: str) -> str:
    # Jobs come back in the order they went in, as Procrastinate itself relies on. The clock goes on from fit to fit,
    # so that those of one batch, too, are listed in an order. Where the same key comes twice at once, the second waits
    # at the table's primary key for the first.
    return f"""
WITH asked AS (
    SELECT * FROM {fits}
), same AS (
    SELECT DISTINCT ON (digest) digest, fit.id, fit.created_at FROM asked JOIN fit USING (digest)
    WHERE NOT %(fresh)s AND fit.digest IS NOT NULL AND fit.status = 'succeeded'
    ORDER BY digest, fit.created_at
), new AS (
    SELECT *, row_number() OVER (ORDER BY place) AS number FROM asked
    WHERE NOT EXISTS (SELECT FROM same WHERE same.digest = asked.digest)
), stored AS ({_keep(dataset)}), deferred AS (
    SELECT {DEFERRED} AS ids FROM new
), created AS (
    INSERT INTO fit ({", ".join(_FIT_TYPES)}, status, job_id, created_at)
    SELECT {_ASKED}, 'queued', job_id, clock_timestamp()
    FROM new JOIN (SELECT job.* FROM deferred, unnest(ids) WITH ORDINALITY AS job (job_id, number)) job USING (number)
    ORDER BY number
    RETURNING id, created_at
), keyed AS (
    INSERT INTO submission (key, digest, fits)
    SELECT %(key)s, %(key_digest)s, fits
    FROM (SELECT array_agg(coalesce(same.id, asked.id) ORDER BY place) AS fits FROM asked LEFT JOIN same USING (digest))
        AS answered
    WHERE %(key)s::text IS NOT NULL
)
SELECT coalesce(same.id, asked.id) AS id, same.id IS NOT NULL AS cached,
    coalesce(same.created_at, created.created_at) AS created_at
FROM asked LEFT JOIN same USING (digest) LEFT JOIN created ON created.id = asked.id
ORDER BY place
"""


def _keep(dataset: str) -> str:
    # In one order everywhere, so that no two batches with the same datasets wait for each other.
    return f"""
    INSERT INTO dataset (id, rows, columns, body)
    SELECT dataset_id, rows, columns::json, body FROM {dataset} ORDER BY dataset_id
    ON CONFLICT (id) DO NOTHING
"""


_QUEUE = _queue(_FITS.many, _DATASETS.many)
_QUEUE_ONE = _queue(_FITS.one, _DATASETS.one)

#: What only the database knows of a fit that is stored as finished.
_NEW = ("id", "status", "version", "attempt", "created_at", "started_at", "finished_at")


def _store(*, is_inline: bool, has_part: bool) -> str:
    return f"""
WITH asked AS (
    SELECT * FROM {_FITS.one}
), same AS (
    SELECT {COLUMNS} FROM fit WHERE NOT %(fresh)s AND digest = %(fit_asked_digest)b AND status = 'succeeded'
    ORDER BY created_at LIMIT 1
), created AS (
    INSERT INTO fit (
        {", ".join(_FIT_TYPES)}, status, attempt, progress, result, end_state, started_at, finished_at
    )
    SELECT {_ASKED}, 'succeeded', 1, %(progress)s, %(result)s, %(end_state)s, now(), now() FROM asked
    WHERE NOT EXISTS (SELECT FROM same)
    RETURNING {", ".join(_NEW)}
), keyed AS (
    INSERT INTO submission (key, digest, fits)
    SELECT %(key)s, %(key_digest)s, ARRAY[coalesce((SELECT id FROM same), id)] FROM asked
    WHERE %(key)s::text IS NOT NULL
){f", stored AS ({_keep(_DATASETS.one)})" if is_inline else ""}{f", written AS ({_WRITE_PART})" if has_part else ""}
SELECT *, true AS cached FROM same
UNION ALL SELECT {", ".join(name if name in _NEW else "NULL" for name in NAMES)}, false FROM created
"""


_WRITE_PART = f"""
    INSERT INTO trajectory_block (fit_id, {", ".join(PART_COLUMNS)})
    SELECT id, {", ".join(f"%(part_{name})s" for name in PART_COLUMNS)} FROM created
"""
_STORE = {
    (is_inline, has_part): _store(is_inline=is_inline, has_part=has_part)
    for is_inline in (True, False)
    for has_part in (True, False)
}

_SELECT_SUBMISSION = """
SELECT submission.digest, named.id, fit.status
FROM submission CROSS JOIN unnest(fits) WITH ORDINALITY AS named (id, place) LEFT JOIN fit ON fit.id = named.id
WHERE key = %s ORDER BY place
"""
_FREE = "DELETE FROM submission WHERE key = %(key)s AND fits = %(fits)s"
