"""Datasets in the database, each once, under the digest of its content; the bodies of large ones in a store of files.

A row whose body is null has a file. The file is there before its row can be seen, and goes after its row has gone, so
whatever ends a process in between leaves at most a file without a row, which `sweep_files` finds. Two processes at one
digest meet at an advisory lock: who places holds it, shared, from before the file is looked for until the transaction
ends; who removes a file holds it alone, and looks for the row once more.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from psycopg.errors import ForeignKeyViolation
from psycopg.rows import DictRow

from service.database.pool import Connection, Pool, transaction
from service.datasets.files import DatasetDamaged, Files, StoreUnavailable
from service.fitting.data import Dataset, content_digest

T = TypeVar("T")

#: Up to here a body costs PostgreSQL little, and less than a second round trip to elsewhere.
INLINE_BYTES = 256 * 1024

#: The file that says whose the store is.
OWNER = "owner"

# Not the threads that fits are solved in: a slow store must keep nobody else waiting.
_THREADS = 4
_PAGE = 1000

logger = logging.getLogger(__name__)


class DatasetStore:
    """Writes and reads datasets.

    Every method raises `psycopg.OperationalError` while the database is away, and `StoreUnavailable` while the store of
    files is and would be needed.

    Parameters
    ----------
    files
        Where large bodies go; None keeps all of them in the database.
    """

    def __init__(self, pool: Pool, files: Files | None = None) -> None:
        self._pool = pool
        self._files = files
        self._is_claimed = False
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dataset-store")

    def is_inline(self, dataset: Dataset) -> bool:
        """Whether the dataset is all in its row, which others may write too, with `values`. `place` does for any."""
        return self._files is None or dataset.content.nbytes <= INLINE_BYTES

    async def place(self, connection: Connection, dataset: Dataset) -> None:
        """Store the dataset, of either kind, unless its content is there already. The caller commits.

        The connection must be inside a transaction: until that ends, nobody removes the file. The row can still go,
        where no fit refers to it yet: then the caller's fit meets a `ForeignKeyViolation`, and all is to be done again.
        """
        if self._files is None or self.is_inline(dataset):
            await connection.execute(_INSERT, values(dataset))
            return
        await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_lock(dataset.digest)])
        await self._claim(connection, self._files)
        await self._in_thread(_ensure, self._files, dataset)
        await connection.execute(_INSERT, _described(dataset) | {"body": None})

    async def get(self, dataset_id: str) -> Dataset | None:
        """Return the dataset with this digest, or None where there is none.

        Raises
        ------
        DatasetDamaged
            Its file is not what was put there.
        """
        async with self._pool.connection() as connection:
            # Binary: as text, PostgreSQL would send two hexadecimal characters a byte.
            cursor = await connection.execute(_SELECT, [dataset_id], binary=True)
            row = await cursor.fetchone()
        if row is None or row["body"] is not None:
            return None if row is None else Dataset.from_bytes(row["columns"], row["rows"], row["body"], dataset_id)
        found = await self._in_thread(_read, self._required(dataset_id), dataset_id, row)
        if found is None and await self.has(dataset_id):
            raise DatasetDamaged(f"The file of the dataset {dataset_id} is gone from the store.")
        return found

    async def has(self, dataset_id: str) -> bool:
        """Whether there is a dataset with this digest."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT FROM dataset WHERE id = %s", [dataset_id])
            return cursor.rowcount > 0

    async def remove_unused(self, ids: Sequence[str]) -> None:
        """Remove those of the datasets that no fit refers to, with their files, each in a transaction of its own.

        Whoever submits the same content at the same time wins: it stays, or is stored again.
        """
        for dataset_id in ids:
            has_file = await self._remove_row(dataset_id)
            if has_file and self._files is not None:
                await self._remove_file(self._files, dataset_id)

    async def sweep_files(self, older_than: timedelta) -> int:
        """Remove the files that no row has, as a crash leaves them, and return how many."""
        if self._files is None:
            return 0
        removed = 0
        names = await self._in_thread(self._files.names, datetime.now(UTC) - older_than)
        while page := await self._in_thread(lambda: list(islice(names, _PAGE))):
            for name in await self._without_row(page):
                removed += await self._remove_file(self._files, name)
        return removed

    async def _remove_row(self, dataset_id: str) -> bool:
        """Whether a row went whose body lies in a file."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_DELETE_UNUSED, [dataset_id])
                row = await cursor.fetchone()
        except ForeignKeyViolation:
            return False
        return row is not None and bool(row["has_file"])

    async def _remove_file(self, files: Files, name: str) -> bool:
        async with transaction(self._pool) as connection:
            # Who holds it places this content now. If nothing comes of that, the file is swept up later.
            cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", [_lock(name)])
            [locked] = await cursor.fetchall()
            if not locked["alone"] or not await _lacks_row(connection, name):
                return False
            await self._claim(connection, files)
            await self._in_thread(files.remove, name)
        return True

    async def _claim(self, connection: Connection, files: Files) -> None:
        """See that no other database has its files here: each would remove what only the other one needs."""
        if self._is_claimed:
            return
        cursor = await connection.execute("SELECT id::text FROM installation")
        [row] = await cursor.fetchall()
        owner = await self._in_thread(_owner, files, row["id"])
        if owner != row["id"]:
            raise StoreUnavailable(f"the store of datasets belongs to another database, whose id is {owner}")
        self._is_claimed = True

    async def _without_row(self, names: Sequence[str]) -> set[str]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_WITH_FILES, [list(names)])
            return set(names) - {row["id"] for row in await cursor.fetchall()}

    def _required(self, dataset_id: str) -> Files:
        if self._files is None:
            raise StoreUnavailable(
                f"the dataset {dataset_id} lies in a store of files, and this process was told of none: set"
                " PLUMBLINE_DATASET_STORE as it is set elsewhere"
            )
        return self._files

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        working = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # A thread cannot be stopped, and what it does may need the lock that the caller gives up next.
            await asyncio.wait([working])
            raise


def values(dataset: Dataset) -> dict[str, Any]:
    """The columns of a dataset that goes into its row, for those who write it by a statement of their own."""
    return _described(dataset) | {"body": dataset.to_bytes()}


def _described(dataset: Dataset) -> dict[str, Any]:
    return {"dataset_id": dataset.digest, "rows": dataset.rows, "columns": json.dumps(dataset.names)}


def _owner(files: Files, candidate: str) -> str:
    found = files.get(OWNER)
    if found is None:
        files.put(OWNER, memoryview(candidate.encode()))
    return candidate if found is None else found.decode()


def _ensure(files: Files, dataset: Dataset) -> None:
    # One that was cut short is written anew.
    if files.size(dataset.digest) != dataset.content.nbytes:
        files.put(dataset.digest, dataset.content)


def _read(files: Files, dataset_id: str, row: DictRow) -> Dataset | None:
    body = files.get(dataset_id)
    if body is None:
        return None
    if content_digest(row["columns"], row["rows"], body) != dataset_id:
        raise DatasetDamaged(f"The file of the dataset {dataset_id} is damaged: its content has another digest.")
    return Dataset.from_bytes(row["columns"], row["rows"], body, dataset_id)


async def _lacks_row(connection: Connection, name: str) -> bool:
    cursor = await connection.execute(_WITH_FILES, [[name]])
    return cursor.rowcount == 0


def _lock(digest: str) -> int:
    return int.from_bytes(bytes.fromhex(digest[:16]), signed=True)


_SELECT = "SELECT rows, columns, body FROM dataset WHERE id = %s"

_INSERT = """
INSERT INTO dataset (id, rows, columns, body) VALUES (%(dataset_id)s, %(rows)s, %(columns)s, %(body)s)
ON CONFLICT (id) DO NOTHING
"""

_DELETE_UNUSED = """
DELETE FROM dataset WHERE id = %s AND NOT EXISTS (SELECT FROM fit WHERE fit.dataset_id = dataset.id)
RETURNING body IS NULL AS has_file
"""

_WITH_FILES = "SELECT id FROM dataset WHERE id = ANY(%s) AND body IS NULL"
