"""The pool of database connections that the stores and the queue of one process share.

On a connection of the pool every statement is a transaction of its own: one round trip, durable when it returns.
Statements that belong together are put inside `transaction`.
"""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, OperationalError, waiting
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
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

# A machine that was switched off takes no leave: the kernel asks after it, and gives it up, within half a minute.
_WATCHFUL = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


@asynccontextmanager
async def open_pool(url: str, most_connections: int = 10, answer_seconds: float | None = None) -> AsyncIterator[Pool]:
    """Open a pool without waiting for the database: a database that is away is the callers' `OperationalError`.

    A connection is looked at before it is lent, so that one the database has closed is replaced instead.

    Parameters
    ----------
    answer_seconds
        How long any answer of the database may take before it counts as away: it may hang. None is for ever.
    """

    async def configure(connection: Connection) -> None:
        # Not by an argument of `connect`, to which Procrastinate adds its own.
        await connection.set_autocommit(True)
        if isinstance(connection, _AbandonableConnection):
            connection.answer_seconds = answer_seconds

    pool: Pool = AsyncConnectionPool(
        watchful(url),
        connection_class=_AbandonableConnection,
        kwargs={"row_factory": dict_row, "application_name": APPLICATION_NAME},
        min_size=1,
        max_size=most_connections,
        open=False,
        configure=configure,
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


def watchful(url: str) -> str:
    """How to connect so that it is noticed when the other machine is gone; what the URL says of that stays."""
    return make_conninfo("", **(_WATCHFUL | conninfo_to_dict(url)))


class _AbandonableConnection(AsyncConnection[DictRow]):
    """A connection that is closed when nobody waits for its answer any more.

    psycopg asks the server to give the question up, and waits for that: seconds, where the server hangs.
    """

    answer_seconds: float | None = None

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """See `psycopg.AsyncConnection.wait`."""
        seconds = self.answer_seconds if timeout is None else timeout
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=seconds)
        except BaseException as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            if isinstance(error, OperationalError):
                raise OperationalError(f"the database has not answered for {seconds} s") from error
            raise


async def _check(connection: Connection) -> None:
    """Raise `psycopg.OperationalError` if the database has closed the connection; no round trip if there is no sign."""
    # To a client that asked nothing, a database says something when it takes its leave. It may be a notice, too.
    looking = select.poll()
    looking.register(connection.pgconn.socket, select.POLLIN)
    if looking.poll(0):
        await AsyncConnectionPool.check_connection(connection)
