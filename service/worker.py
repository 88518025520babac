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

from procrastinate.exceptions import ConnectorException
from psycopg import OperationalError
from pydantic import ValidationError

from service import lifeline
from service.bootstrap import DatabaseNotNamed, WorkerParts, open_worker
from service.settings import Settings, explain

_SWEEP_SECONDS = 10.0
_RETRY_SECONDS = 1.0

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Work until told to stop, and return 0; 2 for settings that it cannot work with."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    try:
        settings = Settings()
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        return 2
    try:
        asyncio.run(work_until_stopped(settings, arguments.lifeline_fd))
    except DatabaseNotNamed as error:
        print(error, file=sys.stderr)
        return 2
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
    working = asyncio.create_task(_work(settings), name="work")
    _stop_at_the_right_moment(working, lifeline_fd)
    with suppress(asyncio.CancelledError):
        await working


def _stop_at_the_right_moment(working: "asyncio.Task[None]", lifeline_fd: int | None) -> None:
    loop = asyncio.get_running_loop()
    asked = False

    def stop() -> None:
        # Once: a second cancellation would cut short the care that the first one takes.
        nonlocal asked
        if not asked:
            asked = True
            working.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if lifeline_fd is not None:
        lifeline.watch(lifeline_fd, lambda: _tell(loop, stop))


def _tell(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    # Closed, the loop has nothing left to be stopped.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stop)


async def _work(settings: Settings) -> None:
    async with open_worker(settings) as parts:
        # Before it registers: a worker that counts as listening answers at once.
        await parts.runner.warm()
        logger.info("Ready for fits")
        sweeping = asyncio.create_task(_sweep(parts), name="recovery")
        try:
            await _consume(parts)
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)


async def _consume(parts: WorkerParts) -> None:
    while not _is_cancelled():
        try:
            await parts.consumer.run()
        except ConnectorException as error:
            logger.warning("Stopped listening, the database does not answer: %s", error.__cause__ or error)
        await asyncio.sleep(_RETRY_SECONDS)


def _is_cancelled() -> bool:
    # A cancelled consumer that cannot sign off in the database raises that instead of `CancelledError`.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _sweep(parts: WorkerParts) -> None:
    while True:
        try:
            await parts.recovery.sweep(parts.consumer.worker_id, parts.consumer.running)
        except OperationalError as error:
            logger.warning("Lost fits cannot be looked for, the database does not answer: %s", error)
        await asyncio.sleep(_SWEEP_SECONDS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.worker", description="Take fits from the queue.")
    parser.add_argument("--lifeline-fd", type=int, metavar="FD", help="a pipe to read from; its end stops the worker")
    return parser


if __name__ == "__main__":
    sys.exit(main())
