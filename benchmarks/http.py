"""A fit of 50 rows over HTTP, queued and stored, against a bare route that calls scikit-learn and stores nothing.

Both are real servers on this machine, asked by the same client over one kept connection; medians are compared. The
do-nothing baseline is our own ``GET /health/live``.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import numpy as np
import psutil

from benchmarks.figure import Figure, median_seconds
from service.launch import launched

REPEATS = 200
IDLE_MEGABYTES = 150.0


def figures() -> Iterator[Figure]:
    """See the module."""
    body = _body()
    with _bare_route() as peer, launched() as service:
        ours = _connect(service.address)
        theirs = median_seconds(lambda: _post(peer, "/fit", body), REPEATS)
        fits = median_seconds(lambda: _post(ours, "/v1/fits", body, {"Prefer": "wait=30"}), REPEATS)
        nothing = median_seconds(lambda: _get(ours, "/health/live"), REPEATS)
        yield Figure("http_exact_50_rows", theirs / fits, 1 / 2.5, "bare_fastapi_with_scikit_learn")
        yield Figure("http_exact_50_rows", nothing / fits, 1 / 2.5, "own_health_live")
        yield Figure("http_memory_of_api", IDLE_MEGABYTES / _api_megabytes(service.pid), 1.0, "150_megabytes")


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
def _bare_route() -> Iterator[HTTPConnection]:
    command = [sys.executable, "-m", "benchmarks.bare_route"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield _connect(process.stdout.readline().removeprefix("Listening at ").strip())
        finally:
            process.send_signal(signal.SIGTERM)


def _connect(address: str) -> HTTPConnection:
    return HTTPConnection(address.removeprefix("http://"))


def _api_megabytes(supervisor: int) -> float:
    children = psutil.Process(supervisor).children(recursive=True)
    api = next(child for child in children if "service.asgi" in child.cmdline())
    return float(api.memory_info().rss) / 2**20
