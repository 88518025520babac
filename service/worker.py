"""The worker process, ``python -m service.worker [--lifeline-fd FD]``: takes fits from the queue until it is stopped.

SIGTERM, SIGINT and the end of the lifeline stop it; a database that goes away does not.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from procrastinate.exceptions import ConnectorException

from service import lifeline
from service.bootstrap import DatabaseNotNamed, WorkerParts, open_worker
from service.database.cancellation import end_if_cancelled
from service.database.errors import UNAVAILABLE
from service.datasets.files import StoreUnavailable, StoreUnusable
from service.jobs.cores import Share
from service.jobs.messages import Ready
from service.process import UNUSABLE_SETTINGS, begin
from service.settings import Settings
from service.supervision.pulse import beat

_SWEEP_SECONDS = 2.5
_CLEAR_SECONDS = 60.0
_LEFTOVERS_SECONDS = 3600.0
_CANCEL_AGAIN_SECONDS = 0.2
_RETRY_SECONDS = 1.0

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Work until told to stop, and return 0; 2 for settings that it cannot work with."""
    arguments = _parser().parse_args(argv)
    settings = begin()
    try:
        asyncio.run(work_until_stopped(settings, arguments.lifeline_fd))
    except (DatabaseNotNamed, StoreUnusable) as error:
        print(f"plumbline: {error}", file=sys.stderr)
        return UNUSABLE_SETTINGS
    return 0


async def work_until_stopped(settings: Settings, lifeline_fd: int | None) -> None:
    """Work; when stopped, give the running fit its grace, and put it back into the queue if that was not enough.

    Raises
    ------
    DatabaseNotNamed
        The settings name no database.
    StoreUnusable
        Datasets can never be kept where the settings say.
    ChildCrashed
        The child cannot even start.
    """
    stopping = asyncio.Event()
    _heed_stops(stopping, lifeline_fd)
    async with open_worker(settings) as parts:
        # Before it registers: a worker that counts as listening answers at once.
        if (ready := await _warmed(parts, stopping)) is None:
            return
        _tell_of_threads(parts.share, ready)
        chores = [asyncio.create_task(_do_always(chore), name=chore.name) for chore in _chores(parts, settings)]
        beating = asyncio.create_task(beat(settings.pulse_file), name="pulse")
        try:
            await _consume(parts, stopping)
        finally:
            stopping.set()
            await asyncio.gather(*map(_end, [*chores, beating]))


def _heed_stops(stopping: asyncio.Event, lifeline_fd: int | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if lifeline_fd is not None:
        lifeline.watch(lifeline_fd, lambda: _tell(loop, stopping.set))


def _tell(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    # Closed, the loop has nothing left to be stopped.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stop)


async def _warmed(parts: WorkerParts, stopping: asyncio.Event) -> Ready | None:
    """What the child says when it is warm; None where somebody said stop before that."""
    warming = asyncio.create_task(parts.runner.warm())
    if await _first_of(warming, stopping):
        return await warming
    warming.cancel()
    await asyncio.gather(warming, return_exceptions=True)
    return None


def _tell_of_threads(share: Share, ready: Ready) -> None:
    pools = ", ".join(f"{library} {count}" for library, count in sorted(ready.pools.items()))
    logger.info("Ready for fits, each on %d threads (%s); pools: %s", share.threads, share.reason, pools)


async def _first_of(task: "asyncio.Task[Any]", stopping: asyncio.Event) -> bool:
    """Wait for the task or for `stopping`; whether the task is done."""
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    return task.done()


async def _consume(parts: WorkerParts, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        consuming = asyncio.create_task(parts.consumer.run(), name="consumer")
        while not await _first_of(consuming, stopping):
            await parts.consumer.stop(consuming)
        try:
            await consuming
        except ConnectorException as error:
            logger.warning("Stopped listening, the database does not answer: %s", error.__cause__ or error)
        except Exception:
            logger.exception("Stopped listening, and begins again")
        await _pause(stopping, _RETRY_SECONDS)


@dataclass(frozen=True)
class _Chore:
    """What is done now and then, beside the fits; `pause` are the seconds after it, `delay` those before the first."""

    name: str
    do: Callable[[], Awaitable[object]]
    pause: float
    delay: float = 0.0


def _chores(parts: WorkerParts, settings: Settings) -> Sequence[_Chore]:
    async def recover() -> None:
        await parts.recovery.sweep(parts.consumer.worker_id, parts.consumer.running | parts.work.jobs)

    async def clear() -> None:
        while await parts.keeper.clear(settings.retention_days, settings.retention_fits):
            end_if_cancelled()

    return (
        _Chore("Recovering lost fits", recover, _SWEEP_SECONDS),
        _Chore("Clearing away old fits", clear, _CLEAR_SECONDS),
        _Chore("Clearing away leftovers", parts.keeper.clear_leftovers, _LEFTOVERS_SECONDS, delay=_LEFTOVERS_SECONDS),
    )


async def _do_always(chore: _Chore) -> NoReturn:
    await asyncio.sleep(chore.delay)
    while True:
        try:
            await chore.do()
        except (*UNAVAILABLE, StoreUnavailable) as error:
            logger.warning("%s has to wait: %s", chore.name, error)
        except Exception:
            logger.exception("%s failed, and is tried again", chore.name)
        end_if_cancelled()
        await asyncio.sleep(chore.pause)


async def _end(task: "asyncio.Task[Any]") -> None:
    # Going through a large store takes long. Again and again: a cancellation can get lost in the database.
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_SECONDS)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.worker", description="Take fits from the queue.")
    parser.add_argument("--lifeline-fd", type=int, metavar="FD", help="a pipe to read from; its end stops the worker")
    return parser


if __name__ == "__main__":
    sys.exit(main())
