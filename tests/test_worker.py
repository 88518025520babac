"""The worker as a process: started, signalled, killed, cut off from its database."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest
from psycopg import OperationalError

from service.bootstrap import Services
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam
from service.fitting.model import Model
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import FitTask
from service.jobs.asked import Asked
from service.jobs.cores import available_cores
from service.jobs.records import FitRecord
from tests.conftest import Outage

pytestmark = pytest.mark.anyio

#: Not plain sgd: that would be there in a moment, in closed form.
ENDLESS = Descent(optimizer=Adam(), epochs=10**11)
DATASET = Dataset.from_columns({"x": [1.0, 2.0, 3.0], "y": [1.0, 3.0, 2.0]})
PATIENCE = 30.0
CORES = available_cores()

Worker = subprocess.Popen[str]
Start = Callable[..., Awaitable[Worker]]


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> Mapping[str, str]:
    values = {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path), "GRACE_SECONDS": "0.1"}
    ours = {f"PLUMBLINE_{name}": value for name, value in values.items()}
    return {**os.environ, **ours}


@pytest.fixture
def start(services: Services, environment: Mapping[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts a worker and waits until it listens; in the end there must be nothing left of it."""
    workers: list[Worker] = []

    async def listening(*options: str, pass_fds: tuple[int, ...] = (), **settings: str) -> Worker:
        before = await services.queue.listening_workers()
        workers.append(_spawn(options, pass_fds, {**environment, **settings}, tmp_path / "log"))
        await _eventually(lambda: _has_workers(services, before + 1))
        return workers[-1]

    yield listening
    for worker in workers:
        worker.kill()
        worker.wait()


def _spawn(options: Sequence[str], pass_fds: Sequence[int], environment: Mapping[str, str], log: Path) -> Worker:
    command = [sys.executable, "-m", "service.worker", *options]
    with log.open("a") as stderr:
        return subprocess.Popen(command, env=environment, stderr=stderr, pass_fds=pass_fds, text=True)


async def _has_workers(services: Services, wanted: int) -> bool:
    return await services.queue.listening_workers() == wanted


async def _eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0.02)


async def _submit(services: Services, solver: Solver) -> FitRecord:
    return await services.fits.submit(Asked(DATASET, FitTask(Model(("x",), ("y",)), solver), {}))


async def _status(services: Services, record: FitRecord) -> str:
    found = await services.fits.get(record.id)
    assert found is not None
    return found.status


async def _until_computing(services: Services, record: FitRecord) -> None:
    async def computes() -> bool:
        found = await services.fits.get(record.id)
        return found is not None and found.progress is not None

    await _eventually(computes)


async def _end(worker: Worker) -> int:
    return await asyncio.to_thread(worker.wait, PATIENCE)


def _child(worker: Worker) -> psutil.Process:
    [child] = psutil.Process(worker.pid).children(recursive=True)
    return child


async def test_a_worker_that_listens_is_warm(services: Services, start: Start) -> None:
    worker = await start()
    assert _child(worker).cmdline()[1:3] == ["-m", "service.jobs.child"]
    record = await _submit(services, Exact())
    found = await services.notices.wait(record.id, PATIENCE)
    assert found is not None
    assert found.status == "succeeded"
    assert found.started_at is not None
    assert (found.started_at - found.created_at).total_seconds() < 1


@pytest.mark.parametrize(
    ("settings", "threads", "reason"),
    [
        ({"PLUMBLINE_THREADS": "1"}, 1, "as PLUMBLINE_THREADS says"),
        ({"PLUMBLINE_WORKERS": "2"}, max(CORES // 2, 1), f"cores {CORES}, workers 2"),
    ],
)
async def test_it_says_on_how_many_threads_fits_compute_and_why(
    start: Start, tmp_path: Path, settings: dict[str, str], threads: int, reason: str
) -> None:
    await start(**settings)
    found = re.search(r"each on (\d+) threads \((.*)\); pools: (.*)", (tmp_path / "log").read_text())
    assert found is not None
    assert found.group(1, 2) == (str(threads), reason)
    assert {pool.split()[-1] for pool in found.group(3).split(", ")} == {str(threads)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_puts_the_fit_back(services: Services, start: Start, number: signal.Signals) -> None:
    worker = await start()
    record = await _submit(services, ENDLESS)
    await _until_computing(services, record)
    child = _child(worker)
    worker.send_signal(number)
    assert await _end(worker) == 0
    assert await _status(services, record) == "queued"
    assert not child.is_running()
    assert await services.queue.listening_workers() == 0


async def test_the_end_of_its_lifeline_ends_it(services: Services, start: Start) -> None:
    reading, writing = os.pipe()
    worker = await start("--lifeline-fd", str(reading), pass_fds=(reading,))
    os.close(reading)
    record = await _submit(services, ENDLESS)
    await _until_computing(services, record)
    os.close(writing)
    assert await _end(worker) == 0
    assert await _status(services, record) == "queued"


async def test_the_next_worker_takes_up_what_was_put_back(services: Services, start: Start) -> None:
    first = await start()
    record = await _submit(services, ENDLESS)
    await _until_computing(services, record)
    first.terminate()
    await _end(first)
    await start()
    await _until_computing(services, record)
    found = await services.fits.get(record.id)
    assert found is not None
    assert (found.status, found.attempt) == ("running", 1)


async def test_a_killed_worker_takes_its_child_along_and_loses_no_fit(services: Services, start: Start) -> None:
    worker = await start()
    record = await _submit(services, ENDLESS)
    await _until_computing(services, record)
    child = _child(worker)
    worker.kill()
    await _end(worker)
    await asyncio.to_thread(psutil.wait_procs, [child], PATIENCE)
    assert not child.is_running()
    async with services.pool.connection() as connection:
        await connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'")
        await connection.execute("UPDATE fit SET progress = NULL")
    await start()
    await _until_computing(services, record)
    found = await services.fits.get(record.id)
    assert found is not None
    assert (found.status, found.attempt) == ("running", 2)


async def test_it_outlives_its_databases_absence(services: Services, start: Start, outage: Outage) -> None:
    worker = await start()
    child = _child(worker)
    with outage(), pytest.raises(OperationalError):
        await services.fits.get((await _submit(services, Exact())).id)
    record = await _submit(services, Exact())
    found = await services.notices.wait(record.id, PATIENCE)
    assert found is not None
    assert found.status == "succeeded"
    assert worker.poll() is None
    assert child.is_running()


async def test_it_can_be_stopped_while_the_database_is_away(start: Start, outage: Outage) -> None:
    worker = await start()
    with outage():
        worker.terminate()
        assert await _end(worker) == 0


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PLUMBLINE_DATABASE_URL": ""}, "PLUMBLINE_DATABASE_URL is not set"),
        ({"PLUMBLINE_MAX_ATTEMPTS": "0"}, "PLUMBLINE_MAX_ATTEMPTS cannot be '0'"),
        ({"PLUMBLINE_DATASET_STORE": "gs://bucket"}, "PLUMBLINE_DATASET_STORE is 'gs://bucket'; it must be"),
    ],
)
def test_settings_it_cannot_work_with_are_said_plainly(
    environment: Mapping[str, str], variables: dict[str, str], words: str
) -> None:
    command = [sys.executable, "-m", "service.worker"]
    ended = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
