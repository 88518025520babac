"""The pool of database connections that the stores and the queue of one process share.

On a connection of the pool every statement is a transaction of its own: one round trip, durable when it returns.
Statements that belong together are put inside `transaction`.
"""

import select
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

    A connection is looked at before it is lent, so that one the database has closed is replaced instead.
    """
    pool = AsyncConnectionPool(
        url,
        connection_class=AsyncConnection[DictRow],
        kwargs={"row_factory": dict_row, "application_name": APPLICATION_NAME},
        min_size=1,
        max_size=most_connections,
        open=False,
        configure=_commit_each_statement,
        check=_check,
        timeout=_ACQUIRE_SECONDS,
        reconnect_timeout=_RECONNECT_SECONDS,
        name=APPLICATION_NAME,
    )
    await pool.open(wait=False)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A connection inside a transaction, which is committed at the end and rolled back by an exception."""
    async with pool.connection() as connection, connection.transaction():
        yield connection


async def _commit_each_statement(connection: Connection) -> None:
    # Not by an argument of `connect`, to which Procrastinate adds its own.
    await connection.set_autocommit(True)


async def _check(connection: Connection) -> None:
    """Raise `psycopg.OperationalError` if the database has closed the connection; no round trip if there is no sign."""
    # To a client that asked nothing, a database says something when it takes its leave. It may be a notice, too.
    looking = select.poll()
    looking.register(connection.pgconn.socket, select.POLLIN)
    if looking.poll(0):
        await AsyncConnectionPool.check_connection(connection)
