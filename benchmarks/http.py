"""A fit of 50 rows over HTTP, queued and stored, against a bare route that calls scikit-learn and stores nothing.

Both are real servers on this machine, asked by the same client over one kept connection; medians are compared. The
do-nothing baseline is our own ``GET /health/live``.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import psutil

from benchmarks.figure import Figure, median_seconds

REPEATS = 200
IDLE_MEGABYTES = 150.0


def figures() -> Iterator[Figure]:
    """See the module."""
    body = _body()
    with _bare_route() as peer, _service() as (process, ours):
        theirs = median_seconds(lambda: _post(peer, "/fit", body), REPEATS)
        fits = median_seconds(lambda: _post(ours, "/v1/fits", body, {"Prefer": "wait=30"}), REPEATS)
        nothing = median_seconds(lambda: _get(ours, "/health/live"), REPEATS)
        yield Figure("http_exact_50_rows", theirs / fits, 1 / 2.5, "bare_fastapi_with_scikit_learn")
        yield Figure("http_exact_50_rows", nothing / fits, 1 / 2.5, "own_health_live")
        yield Figure("http_memory_of_api", IDLE_MEGABYTES / _api_megabytes(process), 1.0, "150_megabytes")


def _body() -> bytes:
    stream = np.random.default_rng(0)
    x = stream.normal(size=50)
    columns = {"x": x.tolist(), "y": (2 * x + stream.normal(size=50)).tolist()}
    return json.dumps({"data": {"columns": columns}, "solver": {"kind": "exact"}}).encode()


def _post(connection: HTTPConnection, path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in (200, 201):
        raise RuntimeError(f"{path}: {answer.status} {text[:300]!r}")
    return text


def _get(connection: HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()


@contextmanager
def _service() -> Iterator[tuple[psutil.Process, HTTPConnection]]:
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as folder:
        Path(folder).chmod(0o711)
        environment = os.environ | {"PLUMBLINE_PORT": "0", "PLUMBLINE_DATA_DIR": f"{folder}/data"}
        command = [sys.executable, "-m", "service", "serve"]
        with _running(command, "Plumbline is ready at ", environment) as (process, address):
            yield process, _connect(address)


@contextmanager
def _bare_route() -> Iterator[HTTPConnection]:
    command = [sys.executable, "-m", "benchmarks.bare_route"]
    with _running(command, "Listening at ", dict(os.environ)) as (_, address):
        yield _connect(address)


@contextmanager
def _running(command: list[str], ready: str, environment: dict[str, str]) -> Iterator[tuple[psutil.Process, str]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield psutil.Process(process.pid), _announced(process, ready)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _announced(process: "subprocess.Popen[str]", ready: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(ready):
            return line.removeprefix(ready).strip()
    raise RuntimeError(f"{process.args!r} did not start")


def _connect(address: str) -> HTTPConnection:
    return HTTPConnection(address.removeprefix("http://"))


def _api_megabytes(process: psutil.Process) -> float:
    is_api: Callable[[psutil.Process], bool] = lambda child: "service.asgi" in child.cmdline()  # noqa: E731
    api = next(child for child in process.children(recursive=True) if is_api(child))
    return float(api.memory_info().rss) / 2**20
