"""The fits of the database, as those who ask for them see them: submitted, read, listed."""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import LiteralString, TypeVar
from uuid import UUID

from psycopg.errors import ForeignKeyViolation

from service.database.pool import Connection, Pool, transaction
from service.datasets.store import DatasetStore
from service.fitting.data import Dataset
from service.fitting.task import FitTask
from service.fitting.trajectory import Trajectory
from service.jobs.archive import ArchivedTrajectory
from service.jobs.asked import Asked, Key
from service.jobs.messages import Solved
from service.jobs.records import TASK, FitRecord, FitStatus, TrajectoryExtent
from service.jobs.rows import COLUMNS, COLUMNS_WITHOUT_RESULT, record_of
from service.jobs.submitting import Submission, Taken, queue_fits, store_solved, submission_under
from service.jobs.trajectories import EVERY_ROW, Rows, read_extent, read_trajectory

T = TypeVar("T")

#: A submission that meets the removal of its dataset every time so often has met something else.
_MOST_TRIES = 5


class FitStore:
    """Submits and reads fits. Every method raises `psycopg.OperationalError` while the database is away."""

    def __init__(self, pool: Pool, datasets: DatasetStore) -> None:
        self._pool = pool
        self._datasets = datasets

    async def submit(self, asked: Asked, key: Key | None = None, *, fresh: bool = False) -> FitRecord:
        """Queue the fit, or answer with an identical one that is finished. See `submit_all`."""
        while True:
            [taken] = await self.submit_all([asked], key, fresh=fresh)
            record = await self.get(taken.id) if taken.cached else _queued(asked, taken)
            if record is not None:
                return replace(record, cached=taken.cached)

    async def submit_all(self, asked: Sequence[Asked], key: Key | None = None, *, fresh: bool = False) -> list[Taken]:
        """Queue the fits, all or none; those that an identical finished fit answers are not run again.

        Parameters
        ----------
        key
            To find them by when the same request comes again; None keeps none.
        fresh
            Whether all are run, finished identical ones or not.

        Raises
        ------
        KeyTaken
            A request with the same key is stored already, since a moment ago.
        """
        every = {item.dataset.digest: item.dataset for item in asked}
        # In one order for all, so that no two wait for each other.
        ordered = [every[digest] for digest in sorted(every)]
        return await self._with_datasets(
            ordered, lambda connection, inline: queue_fits(connection, asked, inline, key, fresh=fresh)
        )

    async def store(self, asked: Asked, solved: Solved, key: Key | None = None, *, fresh: bool = False) -> FitRecord:
        """Store the fit, solved already, or answer with an identical one that is there. See `submit_all`.

        It needs no job. In everything that can be seen it is as if it had been queued, and solved at its first attempt.
        """
        return await self._with_datasets(
            [asked.dataset],
            lambda connection, inline: store_solved(
                connection, asked, solved, key, is_inline=len(inline) > 0, fresh=fresh
            ),
        )

    async def under_key(self, key: str) -> Submission | None:
        """Return what the request with this key came to; None where there was none, or all its fits are deleted."""
        async with self._pool.connection() as connection:
            return await submission_under(connection, key)

    async def has_identical(self, asked: Asked) -> bool:
        """Whether an identical fit is finished."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SELECT_IDENTICAL, [asked.digest])
            return cursor.rowcount > 0

    async def _with_datasets(
        self, datasets: Sequence[Dataset], work: Callable[[Connection, Sequence[Dataset]], Awaitable[T]]
    ) -> T:
        """What comes of a statement that needs these datasets, which is handed those that it can store by itself."""
        inline = [dataset for dataset in datasets if self._datasets.is_inline(dataset)]
        placed = [dataset for dataset in datasets if not self._datasets.is_inline(dataset)]
        for _ in range(_MOST_TRIES - 1):
            # One of them was removed in the meantime, as no fit had needed it.
            with suppress(ForeignKeyViolation):
                return await self._once(inline, placed, work)
        return await self._once(inline, placed, work)

    async def _once(
        self,
        inline: Sequence[Dataset],
        placed: Sequence[Dataset],
        work: Callable[[Connection, Sequence[Dataset]], Awaitable[T]],
    ) -> T:
        if not placed:
            async with self._pool.connection() as connection:
                return await work(connection, inline)
        async with transaction(self._pool) as connection:
            for dataset in placed:
                await self._datasets.place(connection, dataset)
            return await work(connection, inline)

    async def get(self, fit_id: UUID) -> FitRecord | None:
        """Return the fit, or None where there is none."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(f"SELECT {COLUMNS} FROM fit WHERE id = %s", [fit_id])
            row = await cursor.fetchone()
        return None if row is None else record_of(row)

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
        with_results: bool = True,
    ) -> list[FitRecord]:
        """Up to `size` fits, newest first.

        Parameters
        ----------
        status, parent, labels
            What all of them have; None and {} for any.
        before
            Creation time and id of the last fit of the page before; None for the first page.
        with_results
            Whether their reports are read; without, they have none, finished or not.
        """
        shared = json.dumps(labels) if labels else None
        wanted = {"status": status, "parent": parent, "labels": shared, "before": before}
        # Only the conditions that are asked for: PostgreSQL cannot use an index through "is null or".
        conditions = [_CONDITIONS[name] for name, value in wanted.items() if value is not None]
        created_at, last_id = before or (None, None)
        columns = COLUMNS if with_results else COLUMNS_WITHOUT_RESULT
        query = f"SELECT {columns} FROM fit WHERE {' AND '.join(['true', *conditions])} {_NEWEST_FIRST}"
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, wanted | {"created_at": created_at, "id": last_id, "size": size})
            rows = await cursor.fetchall()
        return [record_of(row) for row in rows]

    async def trajectory(self, fit_id: UUID, wanted: Rows = EVERY_ROW) -> Trajectory | ArchivedTrajectory | None:
        """Return what was recorded, or None where nothing is: no such fit, not finished, or no steps taken."""
        return await read_trajectory(self._pool, fit_id, wanted)

    async def extent(self, fit_id: UUID) -> TrajectoryExtent | None:
        """Return how long what was recorded is, for a fit without a result; None where nothing was."""
        return await read_extent(self._pool, fit_id)


def _queued(asked: Asked, taken: Taken) -> FitRecord:
    return FitRecord(
        id=taken.id,
        status="queued",
        version=1,
        attempt=0,
        parent=asked.parent,
        dataset_id=asked.dataset.digest,
        request=dict(asked.request),
        labels=dict(asked.labels),
        progress=None,
        report=None,
        trajectory=None,
        error=None,
        created_at=taken.created_at,
        started_at=None,
        finished_at=None,
    )


_SELECT_IDENTICAL = "SELECT FROM fit WHERE digest = %s AND status = 'succeeded' LIMIT 1"

_CONDITIONS = {
    "status": "status = %(status)s",
    "parent": "parent = %(parent)s",
    "labels": "labels @> %(labels)s::jsonb",
    "before": "(created_at, id) < (%(created_at)s, %(id)s)",
}
_NEWEST_FIRST = "ORDER BY created_at DESC, id DESC LIMIT %(size)s"
