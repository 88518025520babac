"""A fit of 50 rows over HTTP, with inference, stored, against a bare route that calls scikit-learn and stores nothing.

Both are real servers on this machine, sent the same bodies by the same clients: no two bodies alike, so each fit brings
a dataset to store. One client at a time for the median, sixteen for how many are answered a second. The do-nothing
baseline is our own ``GET /health/live``.
"""

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil

from benchmarks.clients import FRESH, get, measure, post
from benchmarks.figure import Figure
from service.launch import launched

SECONDS, CLIENTS = 3.0, 16
PEER, GOAL = "bare_fastapi_with_scikit_learn", 1 / 2.5
MOST_SECONDS, LEAST_A_SECOND = 2e-3, 800.0
MOST_MEGABYTES = 150.0


def figures() -> Iterator[Figure]:
    """See the module."""
    with _bare_route() as peer, launched() as service:
        theirs = measure(peer, post("/fit", _bodies()), 1, SECONDS)
        ours = measure(service.address, post("/v1/fits", _bodies(), FRESH), 1, SECONDS)
        nothing = measure(service.address, get("/health/live"), 1, 1.0)
        yield Figure("http_exact_50_rows", theirs.median / ours.median, GOAL, PEER)
        yield Figure("http_exact_50_rows", MOST_SECONDS / ours.median, 1.0, "2_milliseconds")
        yield Figure("http_exact_50_rows", nothing.median / ours.median, GOAL, "own_health_live")
        their_many = measure(peer, post("/fit", _bodies()), CLIENTS, SECONDS)
        our_many = measure(service.address, post("/v1/fits", _bodies(), FRESH), CLIENTS, SECONDS)
        yield Figure("http_exact_fits_a_second", our_many.per_second / their_many.per_second, GOAL, PEER)
        yield Figure("http_exact_fits_a_second", our_many.per_second / LEAST_A_SECOND, 1.0, "800_a_second")
        yield Figure("http_memory_of_api", MOST_MEGABYTES / _api_megabytes(service.pid), 1.0, "150_megabytes")


def _bodies() -> Iterator[bytes]:
    stream = np.random.default_rng(0)
    x = stream.normal(size=50)
    columns = {"x": x.tolist(), "y": (2 * x + stream.normal(size=50)).tolist()}
    for number in itertools.count():
        columns["y"][0] = number * 1e-6
        yield json.dumps({"data": {"columns": columns}, "solver": {"kind": "exact"}}).encode()


@contextmanager
def _bare_route() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.bare_route"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("Listening at ").strip()
        finally:
            process.send_signal(signal.SIGTERM)


def _api_megabytes(supervisor: int) -> float:
    children = psutil.Process(supervisor).children(recursive=True)
    api = next(child for child in children if "service.asgi" in child.cmdline())
    return float(api.memory_info().rss) / 2**20
