"""`make serve` as a person uses it, from this checkout; a first run installs."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.launch import READY

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0


@pytest.fixture
def making(reachable_folder: Path) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "PLUMBLINE_PORT": "0", "PLUMBLINE_DATA_DIR": str(reachable_folder / "a folder")}
    # A `make test` above would pass its own flags on.
    environment = {name: value for name, value in environment.items() if not name.startswith("MAKE")}
    with subprocess.Popen(["make", "serve"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_it_prints_a_line_that_works_and_stops_with_all_it_started(making: "subprocess.Popen[str]") -> None:
    assert making.stdout is not None
    lines = iter(making.stdout.readline, "")
    assert any(re.fullmatch(rf"{READY}http://127\.0\.0\.1:\d+\n", line) for line in lines)
    curl = next(lines)
    answer = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True)
    assert shlex.split(curl)[0] == "curl"
    assert '"status":"succeeded"' in answer.stdout
    family = psutil.Process(making.pid).children(recursive=True)
    assert len(family) >= 4  # supervisor, API, worker, its child, the database
    making.send_signal(signal.SIGTERM)
    making.wait(PATIENCE)
    _, left = psutil.wait_procs(family, PATIENCE)
    assert not left, [_said(process) for process in left]


def _said(process: psutil.Process) -> Any:
    return process.as_dict(["pid", "cmdline"])
