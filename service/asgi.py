"""The API process: ``python -m service.asgi --listen-fd N --lifeline-fd M``.

Without descriptors it listens on PLUMBLINE_HOST and PLUMBLINE_PORT and lives until it gets a signal.
"""

import argparse
import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
import uvloop
from fastapi import FastAPI

from service import lifeline
from service.api.app import create_app
from service.api.protocol import OneProtocol
from service.bootstrap import open_services
from service.datasets.files import StoreUnusable
from service.fitting.threads import use_threads
from service.process import UNUSABLE_SETTINGS, begin
from service.settings import Settings

_BACKLOG = 2048


class Server(uvicorn.Server):
    """Leaves signals alone: they are dealt with here, from before it starts until after it has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, listener: socket.socket | None, lifeline_fd: int | None) -> None:
    """Serve until a signal comes or the lifeline ends.

    Raises
    ------
    DatabaseNotNamed
        The settings name no database.
    StoreUnusable
        Datasets can never be kept where the settings say.
    """
    closing = asyncio.Event()
    _set_when_told(closing, lifeline_fd)
    async with open_services(settings) as services:
        server = Server(_config(settings, create_app(services, closing)))
        # What is there now stays: the collector need not go through all of it again and again.
        gc.collect()
        gc.freeze()
        stopping = asyncio.create_task(_stop(server, closing))
        await server.serve(None if listener is None else [listener])
        stopping.cancel()


def _set_when_told(closing: asyncio.Event, lifeline_fd: int | None) -> None:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, closing.set)

    def lost() -> None:
        # The loop may have been closed in the meantime, which is just as well.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(closing.set)

    if lifeline_fd is not None:
        lifeline.watch(lifeline_fd, lost)


async def _stop(server: Server, closing: asyncio.Event) -> None:
    await closing.wait()
    server.should_exit = True


def _config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=OneProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks for a client's address
        backlog=_BACKLOG,
        # Longer than that is not graceful any more: the supervisor's patience has an end.
        timeout_graceful_shutdown=max(1, int(settings.grace_seconds)),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.asgi", description="The API process.")
    parser.add_argument("--listen-fd", type=int, help="descriptor of a listening socket to serve on")
    parser.add_argument("--lifeline-fd", type=int, help="descriptor of a pipe; the process ends when the pipe does")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; 0 for that. Settings it cannot serve with end the process with 2."""
    options = _parser().parse_args(argv)
    settings = begin()
    # What is fitted here is too small to be shared out, and the cores are the workers'.
    use_threads(1)
    listener = None if options.listen_fd is None else socket.socket(fileno=options.listen_fd)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, listener, options.lifeline_fd))
    except StoreUnusable as error:
        print(f"plumbline: {error}", file=sys.stderr)
        return UNUSABLE_SETTINGS
    return 0


if __name__ == "__main__":
    sys.exit(main())
