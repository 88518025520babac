"""The queue: Procrastinate on the service's own database, one queue, one kind of job."""

from uuid import UUID

from procrastinate import App, PsycopgConnector

from service.database.pool import Connection, Pool

QUEUE = "fits"
TASK = "fit"

#: Without a heartbeat for this long, a worker counts as dead.
DEAD_AFTER_SECONDS = 30.0


class FitQueue:
    """Puts fits into the queue, and counts who listens at its other end."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._app = App(connector=PsycopgConnector())

    async def open(self) -> None:
        """Join the pool; it stays its owner's to close."""
        await self._app.open_async(pool=self._pool)

    async def enqueue(self, connection: Connection, fit_id: UUID) -> int:
        """Add a job in the caller's transaction and return its id: it is seen if and when that commits."""
        job = self._app.configure_task(TASK, queue=QUEUE, connection=connection)
        return await job.defer_async(fit_id=str(fit_id))

    async def listening_workers(self) -> int:
        """How many workers have a heartbeat young enough to count as alive."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_COUNT_WORKERS, {"seconds": DEAD_AFTER_SECONDS})
            row = await cursor.fetchone()
        return 0 if row is None else int(row["workers"])


_COUNT_WORKERS = """
SELECT count(*) AS workers FROM procrastinate_workers
WHERE last_heartbeat > now() - make_interval(secs => %(seconds)s)
"""
