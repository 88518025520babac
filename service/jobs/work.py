"""What a worker does with a fit from the queue: begins it, runs it in the child, writes down how it ended.

With a tiny fit it begins those that come next in the queue and are tiny too: one statement begins them all, and every
few of them share one that writes down their ends. The child has one fit at a time, so whatever becomes of that one, the
others are none the worse for it; and when one is slow, those that wait behind it go back to where others have time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, TypeVar
from uuid import UUID, uuid4

from service.database.cancellation import end_if_cancelled
from service.database.errors import UNAVAILABLE
from service.datasets.files import DatasetDamaged, StoreUnavailable
from service.datasets.store import DatasetStore
from service.fitting.errors import InvalidProblem
from service.fitting.solver import Descent
from service.fitting.task import FitTask
from service.jobs import failures
from service.jobs.attempts import Attempt, Attempts
from service.jobs.ends import Cancelled, Ending
from service.jobs.hand import Hand
from service.jobs.messages import Order, Part, Solved
from service.jobs.notices import Notices
from service.jobs.records import TASK, FitProgress
from service.jobs.runner import ChildCrashed, FitRunner
from service.jobs.untold import Untold

T = TypeVar("T")

#: Tiny fits begun with one, and the bytes of their datasets.
MOST_OTHERS = 31
MOST_BYTES = 8 << 20

# A fit that takes longer is worth telling of, and worth listening for who wants it stopped. Ends that are that old are
# written down.
_QUICK_SECONDS = 0.1
# A dead connection can look alive for a while, and nothing is heard by it.
_LOOK_AGAIN_SECONDS = 5.0
_PATIENCE_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long an attempt at a fit may run, and how long it may take to stop after that, or once it is cancelled."""

    fit_seconds: float
    grace_seconds: float


class AttemptLost(Exception):
    """The fit was taken away: this worker was thought dead."""


class Overdue(Exception):
    """The fit should have stopped, and did not."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending


class FitWork:
    """The body of the queue's jobs, one at a time.

    Parameters
    ----------
    cancellations
        Notices of the fits that are to be cancelled.
    """

    def __init__(
        self, datasets: DatasetStore, attempts: Attempts, runner: FitRunner, cancellations: Notices, limits: Limits
    ) -> None:
        self._datasets = datasets
        self._attempts = attempts
        self._runner = runner
        self._cancellations = cancellations
        self._limits = limits
        self._hand = Hand()
        self._most_others = MOST_OTHERS

    @property
    def jobs(self) -> frozenset[int]:
        """The ids of the jobs of all fits that are in hand."""
        return self._hand.jobs

    async def __call__(self, fit_id: UUID, job_id: int, worker_id: int | None = None) -> None:
        """Attempt the fit, and perhaps others with it, until they are finished, and their jobs are gone.

        Cancelled, it kills the child and puts what is not finished back into the queue.
        """
        begin = partial(self._attempts.begin_together, fit_id, job_id, worker_id, self._most_others, MOST_BYTES)
        self._hand = hand = Hand(await patiently(begin))
        try:
            end_if_cancelled()
            while hand.take():
                await self._work_at_current(hand)
            await self._write(hand)
            # Where a worker could not see all of them through, it takes fewer next time.
            self._most_others = (
                self._most_others // 2 if hand.gave_back else min(2 * self._most_others + 1, MOST_OTHERS)
            )
        except asyncio.CancelledError:
            await self._leave(hand)
            raise
        finally:
            self._hand = Hand()

    async def _work_at_current(self, hand: Hand) -> None:
        """See the fit to its end, by another attempt after each that crashed."""
        while (attempt := hand.current) is not None:
            try:
                hand.end(await self._ending(attempt, hand))
            except AttemptLost:
                _drop(attempt)
                hand.current = None
            except ChildCrashed as crash:
                logger.warning("Attempt %d at fit %s: the child %s", attempt.number, attempt.fit_id, crash)
                if self._attempts.is_last(attempt):
                    hand.end(failures.crashed(attempt.number, str(crash)))
                else:
                    hand.current = await patiently(partial(self._attempts.begin, attempt.fit_id, attempt.job_id))

    async def _ending(self, attempt: Attempt, hand: Hand) -> Ending:
        """How the attempt ended. Raises `ChildCrashed` and `AttemptLost`."""
        try:
            return await self._solve(attempt, hand)
        except (Overdue, AttemptLost) as killed:
            self._runner.prepare()
            if isinstance(killed, Overdue):
                return killed.ending
            raise
        except InvalidProblem as refusal:
            return failures.invalid(refusal)
        except DatasetDamaged as damage:
            return failures.damaged(str(damage))
        except ChildCrashed:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it is this fit's alone, and for the log
            return _incident(attempt)

    async def _solve(self, attempt: Attempt, hand: Hand) -> Solved:
        order, began, untold = await self._order(attempt), time.monotonic(), Untold()
        solving = asyncio.create_task(self._runner.run(order, untold.put, partial(self._keep, attempt)))
        try:
            if hand.seconds_unwritten > _QUICK_SECONDS:
                # The child computes meanwhile.
                await self._write(hand)
            await asyncio.wait([solving], timeout=_QUICK_SECONDS)
            if not solving.done():
                await self._unburden(hand)
                await self._attend(attempt, began, solving, untold)
            return await solving
        finally:
            await _end(solving)

    async def _order(self, attempt: Attempt) -> Order:
        dataset = attempt.dataset()
        if dataset is None:
            dataset = await patiently(partial(self._datasets.get, attempt.dataset_id))
        end_if_cancelled()
        if dataset is None:
            raise LookupError(f"dataset {attempt.dataset_id} is gone")
        return Order(_limited(TASK.decode(attempt.task), self._limits.fit_seconds), dataset, attempt.start_state)

    async def _attend(self, attempt: Attempt, began: float, solving: "asyncio.Task[Solved]", untold: Untold) -> None:
        """Tell of the fit and mind when it is to stop, until it is solved. Raises `AttemptLost` and `Overdue`."""
        minding, news = asyncio.create_task(self._mind(attempt, began)), asyncio.create_task(untold.progress())
        try:
            while not solving.done():
                await asyncio.wait([solving, minding, news], return_when=asyncio.FIRST_COMPLETED)
                if minding.done() and not solving.done():
                    await minding
                if news.done():
                    # Not in a task that ends with the fit: a statement that is given up costs a connection.
                    await self._tell(attempt, await news, untold)
                    news = asyncio.create_task(untold.progress())
        finally:
            await _end(minding, news)

    async def _tell(self, attempt: Attempt, progress: FitProgress, untold: Untold) -> None:
        # While the database is away, of progress the old is dropped for the new; glimpses stay until they are stored.
        with suppress(*UNAVAILABLE):
            while untold.glimpses:
                if not await self._attempts.glimpse(attempt, untold.glimpses[0]):
                    raise AttemptLost
                untold.glimpses.popleft()
            if not await self._attempts.progress(attempt, progress):
                raise AttemptLost
        end_if_cancelled()

    async def _mind(self, attempt: Attempt, began: float) -> NoReturn:
        """Halt the fit when somebody wants it cancelled. It ends by itself when its time is up, if it listens."""
        limits = self._limits
        try:
            async with asyncio.timeout(began + limits.fit_seconds + limits.grace_seconds - time.monotonic()):
                await self._until_to_stop(attempt)
        except TimeoutError:
            raise Overdue(failures.out_of_time(limits.fit_seconds, limits.grace_seconds)) from None
        await self._runner.halt()
        await asyncio.sleep(limits.grace_seconds)
        raise Overdue(Cancelled())

    async def _until_to_stop(self, attempt: Attempt) -> None:
        with self._cancellations.subscription(attempt.fit_id) as told:
            while not (is_to_stop := await patiently(partial(self._attempts.is_to_stop, attempt))):
                end_if_cancelled()
                if is_to_stop is None:
                    raise AttemptLost
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), _LOOK_AGAIN_SECONDS)
                told.clear()

    async def _keep(self, attempt: Attempt, part: Part) -> None:
        if not await patiently(partial(self._attempts.keep, attempt, part)):
            raise AttemptLost
        end_if_cancelled()

    async def _unburden(self, hand: Hand) -> None:
        await self._write(hand)
        if hand.waiting:
            await patiently(partial(self._attempts.release, *hand.waiting))
            hand.waiting.clear()
            hand.gave_back = True

    async def _write(self, hand: Hand) -> None:
        """Write down the ends there are. One that cannot be, for what it says, keeps no other from it."""
        if not hand.ended:
            return
        try:
            kept = await patiently(partial(self._attempts.finish, hand.ended))
        except Exception:
            logger.exception("Ends of %d fits could not be written down together", len(hand.ended))
            kept = {attempt.fit_id for attempt, ending in hand.ended if await self._write_alone(attempt, ending)}
        for attempt, _ in hand.ended:
            if attempt.fit_id not in kept:
                _drop(attempt)
        hand.written()

    async def _write_alone(self, attempt: Attempt, ending: Ending) -> bool:
        try:
            return bool(await patiently(partial(self._attempts.finish, [(attempt, ending)])))
        except Exception:  # noqa: BLE001 - as above
            return bool(await patiently(partial(self._attempts.finish, [(attempt, _incident(attempt))])))

    async def _leave(self, hand: Hand) -> None:
        try:
            if hand.ended:
                await self._attempts.finish(hand.ended)
            if hand.unfinished:
                await self._attempts.release(*hand.unfinished)
        except UNAVAILABLE as error:
            logger.warning("%d fits are left for others to recover: %s", len(hand.jobs), error)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the database, again and again while it is away: what was computed outlives its restart."""
    while True:
        try:
            return await ask()
        except (*UNAVAILABLE, StoreUnavailable) as error:
            logger.warning("Waiting for database and store: %s", error)
        end_if_cancelled()
        await asyncio.sleep(_PATIENCE_SECONDS)


async def _end(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _limited(task: FitTask, seconds: float) -> FitTask:
    """The task, with a descent that ends by itself after so many seconds, if not before."""
    solver = task.solver
    if not isinstance(solver, Descent):
        return task
    own = solver.stop.max_seconds
    stop = replace(solver.stop, max_seconds=seconds if own is None else min(own, seconds))
    return replace(task, solver=replace(solver, stop=stop))


def _drop(attempt: Attempt) -> None:
    logger.warning("Fit %s is no longer this worker's; attempt %d is dropped", attempt.fit_id, attempt.number)


def _incident(attempt: Attempt) -> Ending:
    """The end for a reason that only the log is told."""
    incident = uuid4().hex[:12]
    logger.exception("Incident %s in attempt %d at fit %s", incident, attempt.number, attempt.fit_id)
    return failures.internal(incident)
