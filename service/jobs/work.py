"""What a worker does with a fit from the queue: begins it, runs it in the child, writes down how it ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn, TypeVar
from uuid import UUID, uuid4

from psycopg import OperationalError

from service.database.cancellation import end_if_cancelled
from service.datasets.store import DatasetStore
from service.fitting.errors import InvalidProblem
from service.fitting.task import Progress
from service.jobs.attempts import Attempt, Attempts
from service.jobs.messages import Order, Part, Solved
from service.jobs.records import TASK, FitError
from service.jobs.runner import ChildCrashed, FitRunner

T = TypeVar("T")

_PATIENCE_SECONDS = 1.0

logger = logging.getLogger(__name__)


class AttemptLost(Exception):
    """The fit was taken away: this worker was thought dead, or the fit was cancelled."""


class FitWork:
    """The body of the queue's jobs."""

    def __init__(self, datasets: DatasetStore, attempts: Attempts, runner: FitRunner) -> None:
        self._datasets = datasets
        self._attempts = attempts
        self._runner = runner

    async def __call__(self, fit_id: UUID, job_id: int) -> None:
        """Attempt the fit until it is finished. Cancelled, it kills the child and puts the fit back into the queue."""
        while attempt := await patiently(lambda: self._attempts.begin(fit_id, job_id)):
            if await self._finish(attempt):
                return

    async def _finish(self, attempt: Attempt) -> bool:
        """Whether the attempt came to an end that stands; a crash before the last attempt does not."""
        try:
            end_if_cancelled()
            ending = await self._ending(attempt)
            if ending is not None:
                await patiently(lambda: self._write(attempt, ending))
        except AttemptLost:
            logger.warning("Fit %s is no longer this worker's; attempt %d is dropped", attempt.fit_id, attempt.number)
            return True
        except asyncio.CancelledError:
            await self._release(attempt)
            raise
        return ending is not None

    async def _ending(self, attempt: Attempt) -> Solved | FitError | None:
        try:
            return await self._solve(attempt)
        except ChildCrashed as crash:
            logger.warning("Attempt %d at fit %s: the child %s", attempt.number, attempt.fit_id, crash)
            return _crashed(attempt, crash) if self._attempts.is_last(attempt) else None
        except InvalidProblem as refusal:
            return _invalid(refusal)
        except AttemptLost:
            raise
        except Exception:
            incident = uuid4().hex[:12]
            logger.exception("Incident %s in attempt %d at fit %s", incident, attempt.number, attempt.fit_id)
            return _internal(incident)

    async def _solve(self, attempt: Attempt) -> Solved:
        dataset = await patiently(lambda: self._datasets.get(attempt.dataset_id))
        end_if_cancelled()
        if dataset is None:
            raise LookupError(f"dataset {attempt.dataset_id} is gone")
        order = Order(TASK.decode(attempt.task), dataset, attempt.start_state)
        latest = _Latest()
        solving = asyncio.create_task(self._runner.run(order, latest.put, partial(self._keep, attempt)))
        noting = asyncio.create_task(self._note(attempt, latest))
        try:
            await asyncio.wait([solving, noting], return_when=asyncio.FIRST_COMPLETED)
            return solving.result() if solving.done() else await noting
        finally:
            await _end(solving, noting)

    async def _note(self, attempt: Attempt, latest: "_Latest") -> NoReturn:
        # Progress is news: while the database is away, the old is dropped for the new.
        while True:
            progress = await latest.get()
            with suppress(OperationalError):
                if not await self._attempts.progress(attempt, progress):
                    raise AttemptLost
            end_if_cancelled()

    async def _keep(self, attempt: Attempt, part: Part) -> None:
        if not await patiently(lambda: self._attempts.keep(attempt, part)):
            raise AttemptLost
        end_if_cancelled()

    async def _write(self, attempt: Attempt, ending: Solved | FitError) -> None:
        match ending:
            case Solved():
                kept = await self._attempts.succeed(attempt, ending)
            case FitError():
                kept = await self._attempts.fail(attempt, ending)
        if not kept:
            raise AttemptLost

    async def _release(self, attempt: Attempt) -> None:
        try:
            await self._attempts.release(attempt)
        except OperationalError as error:
            logger.warning("Fit %s is left for others to recover: %s", attempt.fit_id, error)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the database, again and again while it is away: what was computed outlives its restart."""
    while True:
        try:
            return await ask()
        except OperationalError as error:
            logger.warning("Waiting for the database: %s", error)
        end_if_cancelled()
        await asyncio.sleep(_PATIENCE_SECONDS)


class _Latest:
    """Room for one progress, where a newer one takes the place of the one before."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Progress] = asyncio.Queue(maxsize=1)

    def put(self, progress: Progress) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(progress)

    async def get(self) -> Progress:
        return await self._queue.get()


async def _end(*tasks: "asyncio.Task[Solved] | asyncio.Task[NoReturn]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _crashed(attempt: Attempt, crash: ChildCrashed) -> FitError:
    return FitError(
        "crashed",
        f"The process that ran the fit {crash}, in the last of {attempt.number} attempts. It is not tried again.",
    )


def _invalid(refusal: InvalidProblem) -> FitError:
    place = "/".join(str(part) for part in refusal.place)
    return FitError("invalid", f"/{place}: {refusal.message} Allowed: {refusal.allowed}.")


def _internal(incident: str) -> FitError:
    return FitError("internal", f"The fit failed inside the service; its log has the reason under {incident}.")
