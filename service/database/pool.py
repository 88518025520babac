"""The pool of database connections that the stores and the queue of one process share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]

APPLICATION_NAME = "plumbline"

# How long a caller waits for a connection before it hears `psycopg_pool.PoolTimeout`, an `OperationalError`.
_ACQUIRE_SECONDS = 5.0
# After this the pool gives an attempt up, and the next caller starts a new one: its backoff never grows long, so it
# works again within seconds of the database's return.
_RECONNECT_SECONDS = _ACQUIRE_SECONDS


@asynccontextmanager
async def open_pool(url: str, most_connections: int = 10) -> AsyncIterator[Pool]:
    """Open a pool without waiting for the database: a database that is away is the callers' `OperationalError`.

    ``async with pool.connection()`` is one transaction: committed at its end, rolled back by an exception. A connection
    is looked at before it is lent, so that one the database has closed is replaced instead.
    """
    pool = AsyncConnectionPool(
        url,
        connection_class=AsyncConnection[DictRow],
        kwargs={"row_factory": dict_row, "application_name": APPLICATION_NAME},
        min_size=1,
        max_size=most_connections,
        open=False,
        check=AsyncConnectionPool.check_connection,
        timeout=_ACQUIRE_SECONDS,
        reconnect_timeout=_RECONNECT_SECONDS,
        name=APPLICATION_NAME,
    )
    await pool.open(wait=False)
    try:
        yield pool
    finally:
        await pool.close()
