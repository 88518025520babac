"""Processes as they run on several machines: APIs and workers that know of each other by their database alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from service.launch import READY

PATIENCE = 60.0


@dataclass(frozen=True)
class Api:
    """A `plumbline serve --no-worker`."""

    process: "subprocess.Popen[str]"
    address: str

    def owns_its_port(self) -> bool:
        """Whether it is this process, or a child of it, that listens at the address."""
        port = urlsplit(self.address).port
        supervisor = psutil.Process(self.process.pid)
        listening = [
            connection.laddr.port
            for process in (supervisor, *supervisor.children(recursive=True))
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]
        return port in listening


@dataclass(frozen=True)
class Machines:
    """What was started."""

    apis: list[Api]
    workers: "list[subprocess.Popen[str]]"


@contextmanager
def machines(folder: Path, variables: Mapping[str, str], apis: int, workers: int) -> Iterator[Machines]:
    """So many APIs and workers, ready; all are told to stop at the end, and those that were not killed do, with 0."""
    environment = {**os.environ, **variables}
    with ExitStack() as stack:
        working = [_started(stack, folder / f"worker{n}", ["worker"], environment) for n in range(workers)]
        serving = [
            _started(stack, folder / f"api{n}", ["serve", "--no-worker"], environment | {"PLUMBLINE_PORT": "0"})
            for n in range(apis)
        ]
        yield Machines([Api(process, _address(process)) for process in serving], working)
        for process in (*serving, *working):
            process.send_signal(signal.SIGTERM)
        assert {process.wait(PATIENCE) for process in (*serving, *working)} <= {0, -signal.SIGKILL}


def _started(
    stack: ExitStack, folder: Path, arguments: list[str], environment: Mapping[str, str]
) -> "subprocess.Popen[str]":
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", *arguments],
        env={**environment, "PLUMBLINE_DATA_DIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(_ended, process)
    return process


def _ended(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY):
            return line.removeprefix(READY).strip()
    raise AssertionError("it ended before it was ready")
