"""The other end of the queue: takes jobs out of it, one at a time, and outlives a database that is away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from uuid import UUID

from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Notification, Status
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.worker import Worker

from service.database.cancellation import end_if_cancelled
from service.database.pool import Pool
from service.jobs.queue import QUEUE, TASK

_RETRY_SECONDS = 1.0
_STOP_AGAIN_SECONDS = 0.2

#: What is done with one job, told by its fit's id, its own and its worker's.
JobBody = Callable[[UUID, int, int | None], Awaitable[None]]


class QueueConsumer:
    """Runs `body` for the jobs of the queue, one at a time. The body deletes the job, when it is done with it."""

    def __init__(self, pool: Pool, body: JobBody, grace_seconds: float) -> None:
        self._pool = pool
        self._body = body
        self._running: set[int] = set()
        self._app = App(connector=PsycopgConnector())
        self._app.job_manager = SteadyJobManager(self._app.connector)
        self._app.task(name=TASK, queue=QUEUE, pass_context=True)(self._run)
        self._worker = Worker(
            self._app,
            queues=[QUEUE],
            shutdown_graceful_timeout=grace_seconds,
            install_signal_handlers=False,
        )

    @property
    def worker_id(self) -> int | None:
        """The row in `procrastinate_workers`; None while not registered."""
        return self._worker.worker_id

    @property
    def running(self) -> frozenset[int]:
        """The ids of the jobs that are really being worked at."""
        return frozenset(self._running)

    async def run(self) -> None:
        """Work until stopped; then give the running job its grace before it is cancelled.

        Raises
        ------
        ConnectorException
            The database went away. It may be run again.
        """
        await self._app.open_async(pool=self._pool)
        await self._worker.run()  # type: ignore[no-untyped-call]  # Procrastinate leaves it bare

    async def stop(self, running: "asyncio.Task[None]") -> None:
        """Stop `run`, which `running` is, and wait until it has ended."""
        # Again and again: Procrastinate forgets a stop that comes before its worker has begun. Nor would cancelling
        # do instead, as a cancellation can get lost on its way through the database.
        while not running.done():
            self._worker.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait([running], timeout=_STOP_AGAIN_SECONDS)

    async def _run(self, context: JobContext, fit_id: str) -> None:
        job_id = context.job.id
        if job_id is None:
            raise ValueError("a job out of the queue has an id")
        self._running.add(job_id)
        try:
            await self._body(UUID(fit_id), job_id, self.worker_id)
        finally:
            self._running.discard(job_id)


class SteadyJobManager(JobManager):
    """Keeps a job running while the database is away, and overlooks none.

    Procrastinate itself stops the worker, and with it the job, at the first heartbeat or LISTEN that fails. A job that
    is inserted while it fetches and finds none waits for its next poll, seconds later: it forgets the notice once it
    has fetched.
    """

    def __init__(self, connector: BaseConnector) -> None:
        super().__init__(connector)
        self._notices = 0

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        while True:
            before = self._notices
            job = await super().fetch_job(queues, worker_id)
            if job is not None or self._notices == before:
                return job

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Do nothing: what becomes of a fit and of its job is written down together, or is for a recovery to find."""

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:  # noqa: ARG002
        """Find none: who wants a fit cancelled says so in its own row. Not to be asked while the database is away."""
        return ()

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:  # noqa: ARG002
        """Prune none: after an outage all seem stalled, and their jobs would no longer be known as theirs."""
        return []

    async def update_heartbeat(self, worker_id: int) -> None:
        """Do nothing: the worker has a `Heart` for that."""

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        async def count(*, channel: str, notification: Notification) -> None:
            self._notices += 1
            await on_notification(channel=channel, notification=notification)

        while True:
            with suppress(ConnectorException):
                await super().listen_for_jobs(on_notification=count, queues=queues)
            end_if_cancelled()
            await asyncio.sleep(_RETRY_SECONDS)
