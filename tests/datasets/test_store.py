"""Datasets in a real database."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from service.database.pool import Pool, open_pool
from service.datasets.store import DatasetStore, insert
from service.fitting.data import Dataset

pytestmark = pytest.mark.anyio

LITTLE = Dataset.from_columns({"größe": [1.5, -0.0, 5e-324], "y 'x'": [1e308, 2.0, 3.0]})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(database_url) as pool:
        yield pool


async def test_a_dataset_comes_back_to_the_last_bit(pool: Pool) -> None:
    async with pool.connection() as connection:
        dataset_id = await insert(connection, LITTLE)
    found = await DatasetStore(pool).get(dataset_id)
    assert found is not None
    assert found.names == LITTLE.names
    assert found.to_bytes() == LITTLE.to_bytes()
    assert found.digest == dataset_id == LITTLE.digest


async def test_the_same_content_is_stored_once(pool: Pool) -> None:
    async with pool.connection() as connection:
        first = await insert(connection, LITTLE)
        second = await insert(connection, Dataset(LITTLE.names, LITTLE.values.copy()))
        cursor = await connection.execute("SELECT count(*) AS n FROM dataset WHERE id = %s", [first])
        assert await cursor.fetchall() == [{"n": 1}]
    assert first == second


async def test_megabytes_come_back(pool: Pool) -> None:
    large = Dataset(("a", "y"), np.random.default_rng(0).normal(size=(300_000, 2)))
    async with pool.connection() as connection:
        await insert(connection, large)
    found = await DatasetStore(pool).get(large.digest)
    assert found is not None
    assert found.digest == large.digest


async def test_an_unknown_dataset_is_none(pool: Pool) -> None:
    assert await DatasetStore(pool).get("0" * 64) is None


async def test_whether_a_dataset_is_there_is_known_without_reading_it(pool: Pool) -> None:
    async with pool.connection() as connection:
        await insert(connection, LITTLE)
    assert await DatasetStore(pool).has(LITTLE.digest)
    assert not await DatasetStore(pool).has("0" * 64)
