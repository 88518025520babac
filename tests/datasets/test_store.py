"""Datasets in a real database, large ones in real stores of files."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation

from service.database.pool import Connection, Pool, open_pool, transaction
from service.datasets.files import DatasetDamaged, StoreUnavailable, path_of
from service.datasets.folder import Folder
from service.datasets.store import INLINE_BYTES, OWNER, DatasetStore
from service.fitting.data import Dataset
from tests.datasets.conftest import Kept

pytestmark = pytest.mark.anyio

LITTLE = Dataset.from_columns({"größe": [1.5, -0.0, 5e-324], "y 'x'": [1e308, 2.0, 3.0]})
#: Of all files, those of this moment too, whatever the clocks are like.
ANY_AGE = timedelta(seconds=-5)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(database_url) as pool:
        yield pool


@pytest.fixture
def store(pool: Pool, kept: Kept) -> DatasetStore:
    return DatasetStore(pool, kept.files)


class _Gate:
    """Something that waits, in its thread, until it is let through."""

    def __init__(self, work: Callable[[str], None]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._opened = asyncio.Event()
        self.reached = asyncio.Event()

    def __call__(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self.reached.set)
        asyncio.run_coroutine_threadsafe(self._opened.wait(), self._loop).result()
        self._work(name)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
async def removal_gate(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> _Gate:
    """In the way of every removal of a file."""
    gate = _Gate(kept.files.remove)
    monkeypatch.setattr(kept.files, "remove", gate)
    return gate


def _large() -> Dataset:
    """Its own for each test: they share a database."""
    return Dataset(("a", "y"), np.random.default_rng().normal(size=(INLINE_BYTES // 16 + 1, 2)))


async def _placed(pool: Pool, store: DatasetStore, dataset: Dataset) -> str:
    async with transaction(pool) as connection:
        await store.place(connection, dataset)
    return dataset.digest


async def _refer(connection: Connection, dataset_id: str) -> None:
    insert = "INSERT INTO fit (id, status, dataset_id, request, task) VALUES (%s, 'queued', %s, '{}', '{}')"
    await connection.execute(insert, [uuid4(), dataset_id])


async def test_a_dataset_comes_back_to_the_last_bit(pool: Pool) -> None:
    dataset_id = await _placed(pool, DatasetStore(pool), LITTLE)
    found = await DatasetStore(pool).get(dataset_id)
    assert found is not None
    assert found.names == LITTLE.names
    assert found.to_bytes() == LITTLE.to_bytes()
    assert found.digest == dataset_id == LITTLE.digest


async def test_the_same_content_is_stored_once(pool: Pool) -> None:
    first = await _placed(pool, DatasetStore(pool), LITTLE)
    second = await _placed(pool, DatasetStore(pool), Dataset(LITTLE.names, LITTLE.values.copy()))
    assert first == second
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) AS n FROM dataset WHERE id = %s", [first])
        assert await cursor.fetchall() == [{"n": 1}]


async def test_without_a_store_of_files_megabytes_go_into_the_row(pool: Pool) -> None:
    large = Dataset(("a", "y"), np.random.default_rng(0).normal(size=(300_000, 2)))
    assert DatasetStore(pool).is_inline(large)
    found = await DatasetStore(pool).get(await _placed(pool, DatasetStore(pool), large))
    assert found is not None
    assert found.to_bytes() == large.to_bytes()


async def test_an_unknown_dataset_is_none(pool: Pool) -> None:
    assert await DatasetStore(pool).get("0" * 64) is None


async def test_whether_a_dataset_is_there_is_known_without_reading_it(pool: Pool) -> None:
    await _placed(pool, DatasetStore(pool), LITTLE)
    assert await DatasetStore(pool).has(LITTLE.digest)
    assert not await DatasetStore(pool).has("0" * 64)


async def test_only_large_ones_go_into_a_file(pool: Pool, kept: Kept, store: DatasetStore) -> None:
    large = _large()
    assert (store.is_inline(LITTLE), store.is_inline(large)) == (True, False)
    for dataset in (LITTLE, large, large):
        found = await store.get(await _placed(pool, store, dataset))
        assert found is not None
        assert (found.names, found.to_bytes()) == (dataset.names, dataset.to_bytes())
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT body FROM dataset WHERE id = %s", [large.digest])
        assert await cursor.fetchall() == [{"body": None}]
    assert kept.files.get(large.digest) == large.to_bytes()
    assert kept.files.get(LITTLE.digest) is None


async def test_a_damaged_file_is_no_dataset(pool: Pool, kept: Kept, store: DatasetStore) -> None:
    large = _large()
    await _placed(pool, store, large)
    body = large.to_bytes()
    for damaged in (body[:-8], b"", bytes([body[0] ^ 1]) + body[1:], np.full(len(body) // 8, np.nan).tobytes()):
        kept.overwrite(path_of(large.digest), damaged)
        with pytest.raises(DatasetDamaged, match=f"{large.digest} is damaged"):
            await store.get(large.digest)
    kept.files.remove(large.digest)
    with pytest.raises(DatasetDamaged, match=f"{large.digest} is gone"):
        await store.get(large.digest)


@pytest.mark.parametrize("length", [0, 100, None])
async def test_submitting_it_again_mends_what_was_cut_short(
    pool: Pool, kept: Kept, store: DatasetStore, length: int | None
) -> None:
    large = _large()
    await _placed(pool, store, large)
    kept.files.remove(large.digest)
    if length is not None:
        kept.overwrite(path_of(large.digest), large.to_bytes()[:length])
    await _placed(pool, store, large)
    found = await store.get(large.digest)
    assert found is not None
    assert found.to_bytes() == large.to_bytes()


async def test_what_no_fit_refers_to_goes_with_its_file(pool: Pool, kept: Kept, store: DatasetStore) -> None:
    used, unused = _large(), _large()
    for dataset in (used, unused, LITTLE):
        await _placed(pool, store, dataset)
    async with pool.connection() as connection:
        await _refer(connection, used.digest)
    await store.remove_unused([used.digest, unused.digest, LITTLE.digest, "0" * 64])
    assert [await store.has(dataset.digest) for dataset in (used, unused, LITTLE)] == [True, False, False]
    assert kept.files.get(unused.digest) is None
    assert await store.get(used.digest) is not None


async def test_a_file_stays_while_somebody_places_the_same_content(pool: Pool, kept: Kept, store: DatasetStore) -> None:
    large = _large()
    await _placed(pool, store, large)
    other = DatasetStore(pool, kept.files)

    async def submit() -> None:
        async with transaction(pool) as connection:
            await store.place(connection, large)
            await other.remove_unused([large.digest])
            await other.sweep_files(ANY_AGE)
            assert kept.files.get(large.digest) is not None
            await _refer(connection, large.digest)

    # The row was there before, and could be taken away; the next time, it is this transaction's own.
    with pytest.raises(ForeignKeyViolation):
        await submit()
    await submit()
    await other.remove_unused([large.digest])
    assert await other.get(large.digest) is not None


async def test_whoever_places_waits_for_who_removes(
    pool: Pool, kept: Kept, store: DatasetStore, removal_gate: _Gate
) -> None:
    large = _large()
    await _placed(pool, store, large)
    removal = asyncio.create_task(DatasetStore(pool, kept.files).remove_unused([large.digest]))
    await removal_gate.reached.wait()
    placing = asyncio.create_task(_placed(pool, store, large))
    await _until_somebody_waits(pool)
    assert not placing.done()
    removal_gate.open()
    await removal
    await placing
    assert await store.get(large.digest) is not None


async def test_cancelled_a_removal_holds_its_lock_until_it_is_over(
    pool: Pool, kept: Kept, store: DatasetStore, removal_gate: _Gate
) -> None:
    large = _large()
    await _placed(pool, store, large)
    removal = asyncio.create_task(DatasetStore(pool, kept.files).remove_unused([large.digest]))
    await removal_gate.reached.wait()
    removal.cancel()
    placing = asyncio.create_task(_placed(pool, store, large))
    await _until_somebody_waits(pool)
    removal_gate.open()
    with pytest.raises(asyncio.CancelledError):
        await removal
    await placing
    assert await store.get(large.digest) is not None


async def test_what_a_crash_leaves_is_swept_up_in_time(pool: Pool, kept: Kept, store: DatasetStore) -> None:
    lost, stored = _large(), _large()
    await _placed(pool, store, stored)
    async with transaction(pool) as connection:
        await store.place(connection, lost)
        raise psycopg.Rollback
    assert not await store.has(lost.digest)
    assert await store.sweep_files(timedelta(hours=1)) == 0
    assert kept.files.get(lost.digest) is not None
    assert await store.sweep_files(ANY_AGE) == 1
    assert kept.files.get(lost.digest) is None
    assert await store.get(stored.digest) is not None


async def test_a_store_that_is_away_leaves_no_row(pool: Pool) -> None:
    large = _large()
    away = DatasetStore(pool, Folder(Path("/nonexistent/datasets")))
    with pytest.raises(StoreUnavailable):
        await _placed(pool, away, large)
    assert not await away.has(large.digest)
    await _placed(pool, away, LITTLE)
    assert await away.get(LITTLE.digest) is not None


async def test_a_process_that_knows_of_no_store_says_so(pool: Pool, store: DatasetStore) -> None:
    large = _large()
    await _placed(pool, store, large)
    with pytest.raises(StoreUnavailable, match="set PLUMBLINE_DATASET_STORE as it is set elsewhere"):
        await DatasetStore(pool).get(large.digest)


async def test_a_store_belongs_to_one_database(
    pool: Pool, kept: Kept, store: DatasetStore, empty_database_url: str
) -> None:
    large = _large()
    await _placed(pool, store, large)
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT id::text FROM installation")
        [row] = await cursor.fetchall()
    assert kept.files.get(OWNER) == row["id"].encode()
    _make_tables(empty_database_url)
    async with open_pool(empty_database_url) as foreign:
        stranger = DatasetStore(foreign, kept.files)
        with pytest.raises(StoreUnavailable, match="belongs to another database"):
            await _placed(foreign, stranger, large)
        with pytest.raises(StoreUnavailable, match="belongs to another database"):
            await stranger.sweep_files(ANY_AGE)
    assert await store.get(large.digest) is not None


async def test_a_body_is_not_copied_on_its_way_into_a_folder(
    pool: Pool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = DatasetStore(pool, Folder(tmp_path_factory.mktemp("datasets")))
    await _placed(pool, store, _large())  # whatever is loaded the first time
    large = Dataset(("a", "y"), np.random.default_rng().normal(size=(1_000_000, 2)))
    tracemalloc.start()
    try:
        await _placed(pool, store, large)
        placing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        found = await store.get(large.digest)
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert placing < 0.1 * large.content.nbytes
    # What is checked for NaN costs a byte a number.
    assert reading < 1.3 * large.content.nbytes


async def _until_somebody_waits(pool: Pool) -> None:
    query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(10), pool.connection() as connection:
        while (await connection.execute(query)).rowcount == 0:  # noqa: ASYNC110 - another connection is waited for
            await asyncio.sleep(0.01)


def _make_tables(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS installation AS SELECT gen_random_uuid() AS id")
        connection.execute("CREATE TABLE IF NOT EXISTS dataset (id text, rows bigint, columns json, body bytea)")
