"""Reading what a fit wrote down, part by part: a few rows of a long trajectory need little memory."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import numpy as np

from service.database.pool import Pool
from service.fitting.arrays import IntArray
from service.fitting.descent.account import Account
from service.fitting.thinning import Thinning, places_kept
from service.fitting.trajectory import Trajectory
from service.jobs.archive import ArchivedTrajectory
from service.jobs.messages import Piece
from service.jobs.records import TrajectoryExtent


@dataclass(frozen=True)
class Rows:
    """Rows `first` to `last`, both included, by their steps, thinned evenly to `limit`; None is no bound.

    First, last and that of least loss stay, where `limit` is 3 or more; else first and last.
    """

    first: int = 0
    last: int | None = None
    limit: int | None = None

    def touch(self, first: int, last: int) -> bool:
        """Whether any of these steps is inside."""
        return last >= self.first and (self.last is None or first <= self.last)

    def hold(self, first: int, last: int) -> bool:
        """Whether all of these steps are inside."""
        return first >= self.first and (self.last is None or last <= self.last)

    def places(self, step: IntArray) -> slice:
        """Where the steps inside stand among ascending ones."""
        last = len(step) if self.last is None else int(np.searchsorted(step, self.last, "right"))
        return slice(int(np.searchsorted(step, self.first, "left")), last)


EVERY_ROW = Rows()

T = TypeVar("T")

#: Bytes that are gone through in well under a millisecond.
_SMALL = 1 << 16

#: What is stored of a part or a glimpse, by the names of `Piece`.
PART_COLUMNS = ("ordinal", "account", "rows", "first_step", "last_step", "body")


def part_values(piece: Piece) -> dict[str, Any]:
    """Of `PART_COLUMNS`, as the database takes them."""
    return {name: getattr(piece, name) for name in PART_COLUMNS} | {"body": piece.body.data}


@dataclass(frozen=True)
class _Entry:
    """A part in the table of contents."""

    ordinal: int
    rows: int
    first_step: int
    last_step: int


async def read_trajectory(pool: Pool, fit_id: UUID, wanted: Rows) -> Trajectory | ArchivedTrajectory | None:
    """What a fit wrote down, or None where that is nothing, or there is no such fit (any more), or it is not over.

    Of one that was cancelled, and did not stop by itself, that is what was stored by then: the parts of its trajectory,
    or where there is none of them, the glimpses.

    Raises `psycopg.OperationalError` while the database is away.
    """
    async with pool.connection() as connection:
        # Binary: as text, PostgreSQL would send two hexadecimal characters a byte.
        cursor = await connection.execute(_SELECT_CONTENTS, [fit_id], binary=True)
        contents = await cursor.fetchall()
    if not contents:
        return await _read_glimpses(pool, fit_id, wanted)
    if contents[0]["account"] is None:
        return await _read_archive(pool, fit_id, wanted)
    entries = [_Entry(row["ordinal"], row["rows"], row["first_step"], row["last_step"]) for row in contents]
    account, body = contents[0]["account"], contents[0]["body"]
    reader = _Reader(pool, fit_id, await _made(len(account), partial(Account.from_bytes, account)), body)
    with suppress(PartGone):
        return await reader.read(entries, wanted)
    return None


async def read_extent(pool: Pool, fit_id: UUID) -> TrajectoryExtent | None:
    """How much there is to read, of a fit without a result that would say so; None where that is nothing."""
    async with pool.connection() as connection:
        for table in ("trajectory_block", "trajectory_glimpse"):
            cursor = await connection.execute(_SELECT_EXTENT.format(table).encode(), [fit_id])
            if (row := await cursor.fetchone()) is not None:
                return TrajectoryExtent(**row)
    return None


async def _read_glimpses(pool: Pool, fit_id: UUID, wanted: Rows) -> Trajectory | None:
    async with pool.connection() as connection:
        cursor = await connection.execute(_SELECT_GLIMPSES, [fit_id], binary=True)
        glimpses = await cursor.fetchall()
    if not glimpses:
        return None
    account = Account.from_bytes(glimpses[0]["account"])
    seen = [Trajectory(account, np.frombuffer(row["body"], account.layout)) for row in glimpses]
    whole = Trajectory.joined(seen)
    inside = whole.take(wanted.places(whole.step))
    return inside.take(places_kept(inside.original.loss, wanted.limit)) if inside.recorded else inside


async def _made(size: int, make: Callable[[], T]) -> T:
    """What is made of so many bytes: in a thread where that takes longer than handing it over."""
    return make() if size <= _SMALL else await asyncio.to_thread(make)


class PartGone(Exception):
    """The fit was deleted in the meantime."""


class _Reader:
    """Reads the parts of one trajectory; the first one's body is there already."""

    def __init__(self, pool: Pool, fit_id: UUID, account: Account, first_body: bytes) -> None:
        self._pool = pool
        self._fit_id = fit_id
        self._account = account
        self._first_body = first_body

    async def read(self, entries: Sequence[_Entry], wanted: Rows) -> Trajectory:
        """The wanted rows."""
        groups = _groups([entry for entry in entries if wanted.touch(entry.first_step, entry.last_step)])
        # How many rows there are is known of all groups but the two that reach beyond what is wanted.
        clipped = {
            place: await self._rows_of(group, wanted)
            for place, group in enumerate(groups)
            if not all(wanted.hold(entry.first_step, entry.last_step) for entry in group)
        }
        count = sum(
            clipped[place].recorded if place in clipped else sum(entry.rows for entry in group)
            for place, group in enumerate(groups)
        )
        thinning = Thinning(self._account, count, wanted.limit)
        for place, group in enumerate(groups):
            part = clipped[place] if place in clipped else await self._rows_of(group, wanted)
            await _made(part.records.nbytes, partial(thinning.take, part))
        return await _made(thinning.size, thinning.whole)

    async def _rows_of(self, group: Sequence[_Entry], wanted: Rows) -> Trajectory:
        bodies = [await self._body(entry) for entry in group]
        parts = [Trajectory(self._account, np.frombuffer(body, self._account.layout)) for body in bodies]
        whole = Trajectory.joined(parts)
        return whole.take(wanted.places(whole.step))

    async def _body(self, entry: _Entry) -> bytes:
        if entry.ordinal == 0:
            return self._first_body
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SELECT_BODY, [self._fit_id, entry.ordinal], binary=True)
            row = await cursor.fetchone()
        if row is None:
            raise PartGone
        body: bytes = row["body"]
        return body


def _groups(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """In ascending order of step, those together that overlap: a row of least loss may come late."""
    groups: list[list[_Entry]] = []
    for entry in sorted(entries, key=lambda entry: entry.first_step):
        if groups and entry.first_step < max(other.last_step for other in groups[-1]):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups


async def _read_archive(pool: Pool, fit_id: UUID, wanted: Rows) -> ArchivedTrajectory:
    async with pool.connection() as connection:
        cursor = await connection.execute(_SELECT_BODIES, [fit_id], binary=True)
        rows = await cursor.fetchall()
    return await asyncio.to_thread(_from_archive, b"".join(row["body"] for row in rows), wanted)


def _from_archive(body: bytes, wanted: Rows) -> ArchivedTrajectory:
    archived = ArchivedTrajectory.from_bytes(body)
    inside = np.arange(len(archived.step))[wanted.places(archived.step)]
    kept = places_kept(archived.original.loss[inside], wanted.limit)
    return archived.take(inside[kept])


_SELECT_CONTENTS = """
SELECT ordinal, rows, first_step, last_step, account, CASE WHEN account IS NOT NULL THEN body END AS body
FROM trajectory_block WHERE fit_id = %s AND EXISTS (
    SELECT FROM fit WHERE id = fit_id AND status IN ('succeeded', 'cancelled')
)
ORDER BY ordinal
"""
_SELECT_GLIMPSES = """
SELECT account, body FROM trajectory_glimpse
WHERE fit_id = %s AND EXISTS (SELECT FROM fit WHERE id = fit_id AND status = 'cancelled') ORDER BY ordinal
"""
_SELECT_EXTENT = """
SELECT sum(rows)::bigint AS recorded, max(last_step) AS total_steps FROM {} WHERE fit_id = %s HAVING count(*) > 0
"""
_SELECT_BODIES = "SELECT body FROM trajectory_block WHERE fit_id = %s ORDER BY ordinal"
_SELECT_BODY = "SELECT body FROM trajectory_block WHERE fit_id = %s AND ordinal = %s"
