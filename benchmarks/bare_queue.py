"""Procrastinate by itself, on a bundled PostgreSQL of its own: jobs that do nothing, enqueued one a transaction."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from procrastinate import App, PsycopgConnector

from service.database.bundled import BundledPostgres
from service.database.migrate import apply_queue_schema

TASK = "nothing"
_POLL_SECONDS = 0.02
#: Run so, as Procrastinate warns of an app that the main module makes.
_WORKER = "import sys; from benchmarks.bare_queue import work; work(sys.argv[1])"


def jobs_a_second(count: int, clients: int) -> float:
    """From the first job's enqueueing to the last one's end, with one worker that waits for them."""
    with _database() as url, _worker(url):
        _do(url, clients, clients)
        began = time.perf_counter()
        _do(url, count, clients)
        return count / (time.perf_counter() - began)


def _do(url: str, count: int, clients: int) -> None:
    asyncio.run(_enqueue(url, count, clients))
    with psycopg.connect(url, autocommit=True) as connection:
        # Finished ones are deleted.
        while connection.execute("SELECT FROM procrastinate_jobs LIMIT 1").rowcount > 0:
            time.sleep(_POLL_SECONDS)


async def _enqueue(url: str, count: int, clients: int) -> None:
    left = iter(range(count))
    async with _app(url).open_async() as app:

        async def enqueue() -> None:
            for _ in left:
                await app.configure_task(TASK).defer_async()

        await asyncio.gather(*(enqueue() for _ in range(clients)))


def _app(url: str) -> App:
    return App(connector=PsycopgConnector(conninfo=url))


@contextmanager
def _database() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as folder:
        # The bundled database may run as another user, who has to get in.
        Path(folder).chmod(0o711)
        server = BundledPostgres(Path(folder) / "postgres")
        url = server.start()
        try:
            with psycopg.connect(url) as connection:
                apply_queue_schema(connection)
            yield url
        finally:
            server.stop()


@contextmanager
def _worker(url: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", _WORKER, url]) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def work(url: str) -> None:
    """Do the queue's jobs, one at a time, until told to stop."""
    asyncio.run(_work(url))


async def _work(url: str) -> None:
    app = _app(url)

    @app.task(name=TASK)
    async def nothing() -> None:
        pass

    async with app.open_async():
        await app.run_worker_async(delete_jobs="always")
