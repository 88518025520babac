"""The pool: one round trip a statement, and no dead connection for anybody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import psycopg
import psycopg.conninfo
import pytest

from service.database.pool import Pool, open_pool, transaction, watchful

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pool(empty_database_url: str) -> AsyncIterator[Pool]:
    """A pool of one connection."""
    async with open_pool(empty_database_url, most_connections=1) as pool:
        yield pool


@pytest.fixture
def onlooker(empty_database_url: str) -> psycopg.Connection:
    return psycopg.connect(empty_database_url, autocommit=True)


async def _backend(pool: Pool) -> int:
    async with pool.connection() as connection:
        return connection.info.backend_pid


async def test_a_statement_is_committed_when_it_returns(pool: Pool, onlooker: psycopg.Connection) -> None:
    with onlooker:
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE one AS SELECT 1 AS n")
            assert onlooker.execute("SELECT n FROM one").fetchall() == [(1,)]


async def test_a_transaction_is_committed_as_a_whole_or_not_at_all(pool: Pool, onlooker: psycopg.Connection) -> None:
    with onlooker:
        onlooker.execute("CREATE TABLE many (n int)")
        async with transaction(pool) as connection:
            await connection.execute("INSERT INTO many VALUES (1)")
            assert onlooker.execute("SELECT n FROM many").fetchall() == []
        with suppress(ZeroDivisionError):
            async with transaction(pool) as connection:
                await connection.execute("INSERT INTO many VALUES (2)")
                raise ZeroDivisionError
        assert onlooker.execute("SELECT n FROM many").fetchall() == [(1,)]


async def test_lending_a_sound_connection_asks_the_database_nothing(pool: Pool, onlooker: psycopg.Connection) -> None:
    backend = await _backend(pool)
    last_asked = "SELECT state_change FROM pg_stat_activity WHERE pid = %s"
    with onlooker:
        before = onlooker.execute(last_asked, [backend]).fetchall()
        assert await _backend(pool) == backend
        assert onlooker.execute(last_asked, [backend]).fetchall() == before


async def test_a_connection_the_database_has_closed_is_replaced(pool: Pool, onlooker: psycopg.Connection) -> None:
    backend = await _backend(pool)
    with onlooker:
        assert onlooker.execute("SELECT pg_terminate_backend(%s, 5000)", [backend]).fetchall() == [(True,)]
    async with pool.connection() as connection:
        assert connection.info.backend_pid != backend
        await connection.execute("SELECT 1")


async def test_a_connection_that_was_told_something_is_kept(pool: Pool, onlooker: psycopg.Connection) -> None:
    async with pool.connection() as connection:
        await connection.execute("LISTEN news")
        backend = connection.info.backend_pid
    with onlooker:
        onlooker.execute("NOTIFY news")
    await asyncio.sleep(0)
    assert await _backend(pool) == backend


async def test_statements_are_prepared_on_each_connection(empty_database_url: str) -> None:
    async with open_pool(empty_database_url, most_connections=2) as pool:

        async def ask() -> int:
            async with pool.connection() as connection:
                for number in range(7):
                    await connection.execute("SELECT %s::int + 1", [number])
                cursor = await connection.execute("SELECT count(*) AS n FROM pg_prepared_statements")
                [row] = await cursor.fetchall()
                return int(row["n"])

        assert set(await asyncio.gather(ask(), ask())) == {1}


async def test_an_answer_that_takes_too_long_is_not_waited_for(empty_database_url: str) -> None:
    async with open_pool(empty_database_url, most_connections=1, answer_seconds=0.1) as pool:
        hanging = await _backend(pool)
        with pytest.raises(psycopg.OperationalError):
            async with transaction(pool) as connection:
                await connection.execute("SELECT pg_sleep(3600)")
        assert await _backend(pool) != hanging


async def test_who_is_cancelled_does_not_wait_for_the_database(pool: Pool) -> None:
    hanging = await _backend(pool)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), transaction(pool) as connection:
            await connection.execute("SELECT pg_sleep(3600)")
    assert await _backend(pool) != hanging


def test_what_the_url_says_of_silence_stays() -> None:
    options = psycopg.conninfo.conninfo_to_dict(watchful("postgresql://host/name?keepalives_idle=77"))
    assert (options["keepalives_idle"], options["connect_timeout"], options["dbname"]) == ("77", "5", "name")
