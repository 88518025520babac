"""The queue: Procrastinate on the service's own database, one queue, one kind of job."""

from uuid import UUID

from procrastinate import App, PsycopgConnector

from service.database.pool import Connection, Pool
from service.jobs.heart import IS_ALIVE

QUEUE = "fits"
TASK = "fit"


class FitQueue:
    """Puts fits into the queue, and counts who listens at its other end."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._app = App(connector=PsycopgConnector())

    async def open(self) -> None:
        """Join the pool; it stays its owner's to close."""
        await self._app.open_async(pool=self._pool)

    async def enqueue(self, connection: Connection, fit_id: UUID, priority: int) -> int:
        """Add a job in the caller's transaction and return its id: it is seen if and when that commits."""
        job = self._app.configure_task(TASK, queue=QUEUE, connection=connection, priority=priority)
        return await job.defer_async(fit_id=str(fit_id))

    async def listening_workers(self) -> int:
        """How many workers are alive."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_COUNT_WORKERS)
            row = await cursor.fetchone()
        return 0 if row is None else int(row["workers"])


#: The ids of jobs that a statement of one's own adds, one for each of its rows, by their `id`, `priority` and `number`,
#: which is their order. As `enqueue` does, it leaves that to Procrastinate's own function.
DEFERRED = f"""
procrastinate_defer_jobs_v1(array_agg(
    ROW('{QUEUE}', '{TASK}', priority, NULL, NULL, jsonb_build_object('fit_id', id), NULL)
        ::procrastinate_job_to_defer_v1
    ORDER BY number
))
"""

_COUNT_WORKERS = f"SELECT count(*) AS workers FROM procrastinate_workers worker WHERE {IS_ALIVE}"
