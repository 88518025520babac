"""Fits that take the queue: how soon they start, how many end a second, and what the service costs while nobody asks.

A queued fit is whole when its answer can be read: dataset, job and fit stored, begun, fitted with its inference (and
diagnosis, for a descent), stored. The peer is Procrastinate by itself, whose jobs do nothing at all. No two fits bring
the same data, and none may be answered by an earlier one.
"""

import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import psutil

from benchmarks.bare_queue import jobs_a_second
from benchmarks.clients import FRESH, ask_all, ask_at_rate, post
from benchmarks.figure import Figure
from service.launch import launched

CLIENTS, FITS, BATCH = 16, 600, 200
#: Headers: through the queue, and through all of it.
UNHELD = ("Prefer: respond-async", FRESH)
ROWS = 50
TINY: dict[str, dict[str, Any]] = {"exact": {"kind": "exact"}, "descent": {"kind": "descent", "epochs": 50}}
MEDIAN_SECONDS, P99_SECONDS = 10e-3, 50e-3
ONE_POST_EACH, IN_BATCHES = 150.0, 300.0
IDLE_SECONDS, IDLE_SHARE, SETTLED_SHARE = 20.0, 0.02, 0.2
MOST_MEGABYTES = 150.0


def figures() -> Iterator[Figure]:
    """See the module."""
    bare = jobs_a_second(FITS, CLIENTS)
    with launched() as service:
        _settle(service.pid)
        yield Figure(
            "idle_processor", IDLE_SHARE / max(_share(service.pid, IDLE_SECONDS), 1e-4), 1.0, "2_percent_of_a_core"
        )
        waits = _waits(service.address)
        yield Figure("queued_to_start_median", MEDIAN_SECONDS / float(np.median(waits)), 1.0, "10_milliseconds")
        yield Figure("queued_to_start_p99", P99_SECONDS / float(np.percentile(waits, 99)), 1.0, "50_milliseconds")
        for name, solver in TINY.items():
            singly = fits_a_second(service.address, name, solver)
            yield Figure(f"queued_{name}_fits_a_second", singly / bare, 0.5, "bare_procrastinate")
            yield Figure(f"queued_{name}_fits_a_second", singly / ONE_POST_EACH, 1.0, "150_a_second")
            together = _in_batches(service.address, name, solver)
            yield Figure(f"batched_{name}_fits_a_second", together / IN_BATCHES, 1.0, "300_a_second")
        yield Figure("queued_memory_of_api", MOST_MEGABYTES / _api_megabytes(service.pid), 1.0, "150_megabytes")


def bodies(run: str, solver: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Requests for fits, no two alike, that carry the label `run`."""
    stream = np.random.default_rng(0)
    x = stream.normal(size=ROWS)
    columns = {"x": x.tolist(), "y": (2 * x + stream.normal(size=ROWS)).tolist()}
    for number in itertools.count():
        data = {"columns": columns | {"y": [number * 1e-6, *columns["y"][1:]]}}
        yield {"data": data, "solver": solver, "labels": {"run": run}}


def requests(run: str, solver: dict[str, Any]) -> Iterator[bytes]:
    """Bodies of single posts."""
    return (json.dumps(body).encode() for body in bodies(run, solver))


def _settle(supervisor: int) -> None:
    """Wait until the service has compiled what a new data folder lacks: an image brings it along."""
    while _share(supervisor, 5.0) > SETTLED_SHARE:
        pass


def _share(supervisor: int, seconds: float) -> float:
    """What all processes of the service take of one core."""
    before = _processor_seconds(supervisor)
    time.sleep(seconds)
    return (_processor_seconds(supervisor) - before) / seconds


def _processor_seconds(supervisor: int) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes(supervisor))


def processes(supervisor: int) -> list[psutil.Process]:
    """All of a service, its bundled database included."""
    whole = psutil.Process(supervisor)
    # The database is no child of the supervisor's: it outlives one that is killed.
    database = [process for process in psutil.process_iter() if _serves(process, whole)]
    return list({process.pid: process for process in [whole, *whole.children(recursive=True), *database]}.values())


def _serves(process: psutil.Process, supervisor: psutil.Process) -> bool:
    """Whether it is a PostgreSQL process of this service, by the folder it works in."""
    try:
        folder = supervisor.environ()["PLUMBLINE_DATA_DIR"]
        return process.name() == "postgres" and process.cwd().startswith(folder)
    except psutil.Error:
        return False


def _waits(address: str) -> list[float]:
    """Seconds from a fit's acceptance to its start, where fits come one by one."""
    make = post("/v1/fits", requests("waits", TINY["exact"]), *UNHELD)
    ask_at_rate(address, make, 20.0, 1, 10.0)
    fits = finished(address, "waits")
    return [(moment(fit["started_at"]) - moment(fit["created_at"])).total_seconds() for fit in fits]


def fits_a_second(address: str, name: str, solver: dict[str, Any]) -> float:
    """How many queued fits end a second, from the first one's acceptance on, posted one by one without a pause."""
    run = f"singly-{name}"
    make = post("/v1/fits", requests(run, solver), *UNHELD)
    ask_all(address, (make() for _ in range(FITS)), CLIENTS)
    return _per_second(finished(address, run))


def _in_batches(address: str, name: str, solver: dict[str, Any]) -> float:
    run = f"batched-{name}"
    fits = bodies(run, solver)
    texts = (json.dumps({"fits": list(itertools.islice(fits, BATCH))}).encode() for _ in range(2 * FITS // BATCH))
    # Made beforehand: the client is not what is measured.
    make = post("/v1/fits:batch", iter(list(texts)), FRESH)
    ask_all(address, (make() for _ in range(2 * FITS // BATCH)), 2)
    return _per_second(finished(address, run))


def _per_second(fits: list[dict[str, Any]]) -> float:
    began = min(moment(fit["created_at"]) for fit in fits)
    ended = max(moment(fit["finished_at"]) for fit in fits)
    return len(fits) / (ended - began).total_seconds()


def finished(address: str, run: str) -> list[dict[str, Any]]:
    """All fits with the label, once none is under way."""
    while any(_page(address, f"label.run={run}&status={status}&page_size=1") for status in ("queued", "running")):
        time.sleep(0.05)
    fits: list[dict[str, Any]] = []
    token = ""
    while token is not None:
        page = _get(f"{address}/v1/fits?label.run={run}&page_size=200{token and f'&page_token={token}'}")
        fits += page["fits"]
        token = page["next_page_token"]
    if wrong := [fit for fit in fits if fit["status"] != "succeeded"]:
        raise RuntimeError(f"{len(wrong)} fits did not succeed; one says {wrong[0]['error']}")
    return fits


def _page(address: str, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _get(f"{address}/v1/fits?{query}")["fits"]
    return found


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url) as answer:
        parsed: dict[str, Any] = json.load(answer)
        return parsed


def moment(text: str) -> datetime:
    """A time as the service writes it."""
    return datetime.fromisoformat(text)


def _api_megabytes(supervisor: int) -> float:
    children = psutil.Process(supervisor).children(recursive=True)
    api = next(child for child in children if "service.asgi" in child.cmdline())
    return float(api.memory_info().rss) / 2**20
