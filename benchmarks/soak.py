"""Ten minutes at 70 % of the load that the service holds: does it grow, fail, or get slower?

The load is queued tiny fits, one POST each, at 70 % of the rate measured just before. Beside it one client posts a fit
every half second and waits for its answer: what it waits is what a user would. Memory is what each process has to
itself; the first minute is left out of all figures, as caches and pools fill. ``PLUMBLINE_SOAK_SECONDS`` makes it
shorter.
"""

import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import psutil

from benchmarks.clients import ask_at_rate, post
from benchmarks.figure import Figure
from benchmarks.queued import CLIENTS, TINY, UNHELD, bodies, fits_a_second, processes, requests
from service.launch import launched

SECONDS = float(os.environ.get("PLUMBLINE_SOAK_SECONDS", "600"))
SETTLING = SECONDS / 10
SHARE = 0.7
PROBE_SECONDS, WEIGH_SECONDS = 0.5, 5.0
MOST_GROWTH, MOST_SLOWDOWN = 1.1, 1.5
WINDOWS = 10


def figures() -> Iterator[Figure]:
    """See the module. Raises RuntimeError where any request or fit fails."""
    waits: list[float] = []
    bytes_held: list[int] = []
    with launched() as service, ExitStack() as stack:
        rate = SHARE * fits_a_second(service.address, "exact", TINY["exact"])
        load = post("/v1/fits", requests("soak", TINY["exact"]), *UNHELD)
        ask_at_rate(service.address, load, rate, CLIENTS, SETTLING)
        probes = bodies("probe", TINY["exact"])
        stack.enter_context(_every(PROBE_SECONDS, lambda: waits.append(_wait(service.address, next(probes)))))
        stack.enter_context(_every(WEIGH_SECONDS, lambda: bytes_held.append(_bytes_held(service.pid))))
        asked = ask_at_rate(service.address, load, rate, CLIENTS, SECONDS - SETTLING)
        _require_no_failure(service.address)
    thirds = np.array_split(bytes_held, 3)
    # The slowest of a while, in whiles: of one long while it would be the single worst moment of the machine.
    slowest = [float(np.percentile(window, 99)) for window in np.array_split(waits, WINDOWS)]
    earlier, later = (float(np.median(half)) for half in np.array_split(slowest, 2))
    yield Figure("soak_rate", asked.per_second / rate, 0.98, "70_percent_of_what_it_holds")
    yield Figure("soak_memory", MOST_GROWTH * thirds[0].mean() / thirds[-1].mean(), 1.0, "growth_of_10_percent")
    yield Figure("soak_p99", MOST_SLOWDOWN * earlier / later, 1.0, "half_as_much_again")


@contextmanager
def _every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Act again and again, in a thread; what it raises is raised at the end."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            act()

    with ThreadPoolExecutor(1) as thread:
        repeating = thread.submit(repeat)
        try:
            yield
        finally:
            over.set()
        repeating.result()


def _wait(address: str, body: dict[str, Any]) -> float:
    """Seconds from a request to its finished fit, by way of the queue."""
    began = time.perf_counter()
    fit = _call(f"{address}/v1/fits", body)
    while fit["status"] in ("queued", "running"):
        fit = _call(f"{address}/v1/fits/{fit['id']}?wait=60")
    return time.perf_counter() - began


def _bytes_held(supervisor: int) -> int:
    """By all processes of the service, each one's own: what they share is counted nowhere."""
    held = 0
    for process in processes(supervisor):
        # It may have ended since it was listed.
        with suppress(psutil.Error):
            held += process.memory_full_info().uss
    return held


def _require_no_failure(address: str) -> None:
    if failed := _call(f"{address}/v1/fits?status=failed&page_size=1")["fits"]:
        raise RuntimeError(f"a fit failed: {failed[0]['error']}")


def _call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Prefer": "respond-async", "Cache-Control": "no-cache"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as answer:
        parsed: dict[str, Any] = json.load(answer)
        return parsed
