"""The worker process, ``python -m service.worker [--lifeline-fd FD]``: takes fits from the queue until it is stopped.

SIGTERM, SIGINT and the end of the lifeline stop it; a database that goes away does not.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from procrastinate.exceptions import ConnectorException
from psycopg import OperationalError

from service import lifeline
from service.bootstrap import DatabaseNotNamed, WorkerParts, open_worker
from service.jobs.cores import Share
from service.jobs.messages import Ready
from service.process import UNUSABLE_SETTINGS, begin
from service.settings import Settings

_SWEEP_SECONDS = 10.0
_RETRY_SECONDS = 1.0

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Work until told to stop, and return 0; 2 for settings that it cannot work with."""
    arguments = _parser().parse_args(argv)
    settings = begin()
    try:
        asyncio.run(work_until_stopped(settings, arguments.lifeline_fd))
    except DatabaseNotNamed as error:
        print(error, file=sys.stderr)
        return UNUSABLE_SETTINGS
    return 0


async def work_until_stopped(settings: Settings, lifeline_fd: int | None) -> None:
    """Work; when stopped, give the running fit its grace, and put it back into the queue if that was not enough.

    Raises
    ------
    DatabaseNotNamed
        The settings name no database.
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
        sweeping = asyncio.create_task(_sweep(parts, stopping), name="recovery")
        try:
            await _consume(parts, stopping)
        finally:
            stopping.set()
            await sweeping


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
        await _pause(stopping, _RETRY_SECONDS)


async def _sweep(parts: WorkerParts, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            await parts.recovery.sweep(parts.consumer.worker_id, parts.consumer.running)
        except OperationalError as error:
            logger.warning("Lost fits cannot be looked for, the database does not answer: %s", error)
        await _pause(stopping, _SWEEP_SECONDS)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.worker", description="Take fits from the queue.")
    parser.add_argument("--lifeline-fd", type=int, metavar="FD", help="a pipe to read from; its end stops the worker")
    return parser


if __name__ == "__main__":
    sys.exit(main())
