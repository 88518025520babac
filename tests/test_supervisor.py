"""`plumbline serve` as processes, with small programs in the place of API and worker."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import psutil
import psycopg
import pytest

from service.database.migrate import await_database

HERE = Path(__file__).parent
STAND_INS = HERE / "stand_ins"
PATIENCE = 60.0


class Lines:
    """What a process writes, line by line, with an end to patience."""

    def __init__(self, stream: IO[str]) -> None:
        self.seen: list[str] = []
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=self._read, args=[stream], daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, start: str) -> str:
        """Return the next line that starts so; what comes before is kept in `seen`."""
        try:
            while (line := self._lines.get(timeout=PATIENCE)) is not None:
                self.seen.append(line)
                if line.startswith(start):
                    return line
        except Empty:
            pass
        raise AssertionError(f"no line starts with {start!r} in {self.seen}")

    def rest(self) -> str:
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
        return "\n".join(self.seen)


class Service:
    """A running supervisor, and everything it started."""

    def __init__(self, variables: dict[str, str], commands: dict[str, list[str]]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, STAND_INS / "serve.py", json.dumps(commands)],
            env={**os.environ, "PYTHONPATH": str(HERE.parent), **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output = Lines(self.process.stdout)
        self.errors = Lines(self.process.stderr)

    def address(self) -> str:
        return self.output.until("Plumbline is ready at ").removeprefix("Plumbline is ready at ")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def pid_of(self, name: str) -> int:
        return int(self.errors.until(f"{name} ").removeprefix(f"{name} "))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


Start = Callable[..., Service]


@pytest.fixture
def data_dir(reachable_folder: Path) -> Path:
    return reachable_folder / "data"


@pytest.fixture
def start(data_dir: Path) -> Iterator[Start]:
    """Start a supervisor on `data_dir`, a free port and stand-ins; whatever is left at the end is stopped."""
    services: list[Service] = []

    def start(
        *,
        api: Sequence[str] = (),
        worker: Sequence[str] = (),
        commands: dict[str, list[str]] | None = None,
        **variables: str,
    ) -> Service:
        stand_ins = {
            "api": [sys.executable, str(STAND_INS / "api.py"), *api],
            "worker": [sys.executable, str(STAND_INS / "worker.py"), *worker],
        }
        defaults = {"PLUMBLINE_PORT": "0", "PLUMBLINE_DATA_DIR": str(data_dir)}
        services.append(Service(defaults | variables, stand_ins | (commands or {})))
        return services[-1]

    yield start
    for service in services:
        if service.process.poll() is None:
            service.end(signal.SIGTERM)


def _get(address: str) -> str:
    with urllib.request.urlopen(address) as answer:
        return str(answer.read().decode())


def _gone(processes: list[psutil.Process]) -> bool:
    # Waits no longer than init takes to bury those that were orphans when they ended.
    return not psutil.wait_procs(processes, timeout=PATIENCE)[1]


def test_it_says_where_it_is_and_how_to_try_it(start: Start) -> None:
    service = start()
    address = service.address()
    command = shlex.split(service.output.until("curl "))
    assert command[-1] == f"{address}/v1/fits"
    body = json.loads(command[command.index("-d") + 1])
    assert body["solver"] == {"kind": "exact"}
    with psycopg.connect(_get(address)) as connection:
        assert connection.execute("SELECT count(*) FROM fit").fetchone() == (0,)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_stops_everything_it_started(number: signal.Signals, start: Start, data_dir: Path) -> None:
    service = start()
    service.address()
    family = service.family()
    assert sum(member.name() == "postgres" for member in family) > 1
    assert sum("stand_ins" in _command(member) for member in family) == 2
    assert service.end(number) == 0
    assert _gone(family)
    assert (data_dir / "serve.lock").read_text() == ""
    assert "Traceback" not in service.errors.rest()


def test_a_stop_before_it_is_ready(start: Start) -> None:
    service = start(api=["--never-ready"])
    service.pid_of("api")
    family = service.family()
    assert service.end() == 0
    assert _gone(family)
    assert service.output.rest() == ""


def test_a_second_one_says_who_serves_the_folder(start: Start, data_dir: Path) -> None:
    first = start()
    address = first.address()
    second = start()
    assert second.process.wait(PATIENCE) == 1
    assert f"process {first.process.pid} already serves {data_dir} at {address}" in second.errors.rest()
    assert _get(address)


def test_a_taken_port_is_told_before_anything_starts(start: Start, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start(PLUMBLINE_PORT=str(port))
        assert service.process.wait(PATIENCE) == 1
    assert service.errors.rest() == (
        f"port {port} of 127.0.0.1 is taken; choose another in PLUMBLINE_PORT (0 takes a free one)"
    )
    assert not (data_dir / "postgres").exists()


def test_an_address_of_another_machine(start: Start) -> None:
    service = start(PLUMBLINE_HOST="192.0.2.1")
    assert service.process.wait(PATIENCE) == 1
    assert "PLUMBLINE_HOST must be an address of this machine" in service.errors.rest()


def test_a_folder_that_cannot_be_made(start: Start, reachable_folder: Path) -> None:
    (reachable_folder / "file").write_text("")
    service = start(PLUMBLINE_DATA_DIR=str(reachable_folder / "file" / "data"))
    assert service.process.wait(PATIENCE) == 1
    assert "PLUMBLINE_DATA_DIR" in service.errors.rest()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def test_after_a_kill_the_next_one_serves_the_same_data_at_the_same_port(start: Start) -> None:
    killed = start()
    address = killed.address()
    with psycopg.connect(_get(address)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    children = [member for member in killed.family() if "stand_ins" in _command(member)]
    assert children
    killed.process.kill()
    next_one = start(PLUMBLINE_PORT=address.rpartition(":")[2])
    assert next_one.address() == address
    assert _gone(children)
    with psycopg.connect(_get(address)) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)
    assert next_one.end() == 0


@pytest.mark.parametrize("name", ["worker", "api"])
def test_a_killed_process_is_replaced_with_all_it_had(name: str, start: Start) -> None:
    service = start()
    pid = service.pid_of(name)
    address = service.address()
    process = psutil.Process(pid)
    children = process.children()
    process.kill()
    said = service.errors.until(f"The {'API' if name == 'api' else name} ended unexpectedly")
    assert "code 137" in said
    assert service.pid_of(name) != pid
    assert _gone(children)
    assert _get(address)


def test_a_killed_database_is_started_again(start: Start) -> None:
    service = start()
    url = _get(service.address())
    next(member for member in service.family() if member.name() == "postgres").kill()
    service.errors.until("The bundled database ended unexpectedly")
    await_database(url, PATIENCE, print)


def test_an_api_that_keeps_ending_ends_the_service(start: Start) -> None:
    service = start(commands={"api": [sys.executable, "-c", "raise SystemExit(7)"]})
    assert service.process.wait(PATIENCE) == 7
    assert service.errors.rest().endswith("the API keeps ending (code 7)")


def test_a_migration_that_fails_ends_the_service(start: Start) -> None:
    service = start(commands={"migrate": [sys.executable, "-c", "raise SystemExit(1)"]})
    assert service.process.wait(PATIENCE) == 1
    assert "could not be brought up to date" in service.errors.rest()


def test_who_does_not_stop_is_killed(start: Start) -> None:
    service = start(worker=["--stubborn"], PLUMBLINE_GRACE_SECONDS="0")
    service.address()
    family = service.family()
    assert service.end() == 0
    assert _gone(family)


def test_a_second_signal_hurries(start: Start) -> None:
    service = start(worker=["--stubborn"], PLUMBLINE_GRACE_SECONDS="3600")
    service.address()
    service.pid_of("worker")  # from here on it handles signals
    service.process.send_signal(signal.SIGINT)
    service.errors.until("worker was asked to stop")
    assert service.end(signal.SIGINT) == 0


def test_any_number_of_workers(start: Start) -> None:
    service = start(PLUMBLINE_WORKERS="3")
    service.address()
    assert len({service.pid_of("worker") for _ in range(3)}) == 3


def test_with_another_database_the_folder_is_left_alone(start: Start, empty_database_url: str, data_dir: Path) -> None:
    service = start(PLUMBLINE_DATABASE_URL=empty_database_url)
    assert _get(service.address()) == empty_database_url
    assert service.end() == 0
    assert not data_dir.exists()
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM fit").fetchone() == (0,)


def test_settings_an_api_cannot_work_with_end_the_service_at_once(start: Start) -> None:
    service = start(commands={"api": [sys.executable, "-c", "raise SystemExit(2)"]})
    assert service.process.wait(PATIENCE) == 2
    assert service.errors.rest().endswith("the API cannot work with these settings; the reason is above")
