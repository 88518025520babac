"""A whole service as a child process, for programs that need one to talk to: the demonstration, benchmarks, tests."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY = "Plumbline is ready at "


class NotStarted(Exception):
    """The service ended before it was ready; what it said is on the error stream."""


@dataclass(frozen=True)
class Launched:
    """A running service: its address, and its supervisor's process id."""

    address: str
    pid: int


@contextmanager
def launched(variables: Mapping[str, str] | None = None) -> Iterator[Launched]:
    """`plumbline serve` on a free port, stopped at the end.

    `variables` go on top of this process's environment; without a data folder among them it gets one of its own.

    Raises
    ------
    NotStarted
        It ended before it was ready.
    """
    with tempfile.TemporaryDirectory(prefix="plumbline-") as folder:
        # The bundled database may run as another user, who has to get in.
        Path(folder).chmod(0o711)
        own = {"PLUMBLINE_PORT": "0", "PLUMBLINE_DATA_DIR": f"{folder}/data"}
        environment = {**os.environ, **own, **(variables or {})}
        command = [sys.executable, "-m", "service", "serve"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Launched(_address(process), process.pid)
            finally:
                process.send_signal(signal.SIGTERM)


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY):
            return line.removeprefix(READY).strip()
    raise NotStarted(f"{process.args!r} ended before it was ready")
