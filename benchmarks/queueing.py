"""How many workers hold which load: by a simulated queue that is fed with service times measured on this machine.

The simulation is checked first: fits of random length come to a real service at random moments, with one worker and
with two, and wait as long as the simulated ones do. `python -m benchmarks.queueing` prints the tables of
docs/capacity.md, for the machine that it runs on.
"""

import json
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.figure import Figure
from benchmarks.queue_model import Service, poisson_arrivals, waits, workers_needed
from benchmarks.queued import UNHELD, finished, moment
from service.fitting.arrays import FloatArray
from service.launch import launched

ROWS = 50
ALONE, TOGETHER, TURNS = 20, 60, 10

#: No closed form reaches their end.
_ADAM: dict[str, Any] = {"optimizer": {"kind": "adam"}}
KINDS: Mapping[str, dict[str, Any]] = {
    "tiny exact fit": {"kind": "exact"},
    "descent of 100 000 steps": {**_ADAM, "epochs": 100_000},
    "descent of 1 million steps": {**_ADAM, "epochs": 1_000_000},
}
#: How many tiny fits a worker takes at a turn.
GROUP = 32

#: Of the tables: fits a second, and what 99 of 100 fits are to start within, in seconds.
LOADS: Mapping[str, Sequence[float]] = {
    "tiny exact fit": (20, 50, 100, 200, 500),
    "descent of 100 000 steps": (1, 2, 5, 10, 20, 50),
    "descent of 1 million steps": (0.1, 0.2, 0.5, 1, 2, 5),
}
P99 = (0.1, 1.0, 10.0)
MOST_WORKERS, SIMULATED = 512, 100_000

CHECKED_FITS, CHECKED_LOAD = 150, 0.65
#: Of the checked fits, in steps: their times vary as much as an exponential's do.
MEAN_STEPS, LEAST_STEPS = 150_000, 10_000
REPLICATIONS = 1000


@dataclass(frozen=True)
class Check:
    """Waits of a real service beside simulated ones, in seconds.

    The simulated fits come when the real ones came and take as long, in another order; of what comes of many orders,
    `mean` and `p90` are the middle and the bounds that 95 of 100 stay within.
    """

    workers: int
    load: float
    measured_mean: float
    measured_p90: float
    mean: tuple[float, float, float]
    p90: tuple[float, float, float]


def figures() -> Iterator[Figure]:
    """Simulated waits over real ones: 1 is a simulation that is right."""
    for workers in (1, 2):
        check = checked(workers)
        print(f"# {check}", file=sys.stderr)
        yield Figure(f"simulated_mean_wait_{workers}_workers", check.mean[1] / check.measured_mean, 1.0, "real_queue")
        yield Figure(f"simulated_p90_wait_{workers}_workers", check.p90[1] / check.measured_p90, 1.0, "real_queue")


def checked(workers: int, seed: int = 0) -> Check:
    """Run a real service under Poisson arrivals, and the simulation beside it. Each worker computes on one thread."""
    stream = np.random.default_rng(seed)
    with launched({"PLUMBLINE_WORKERS": str(workers), "PLUMBLINE_THREADS": "1"}) as service:
        kind = measured(service.address, {**_ADAM, "epochs": MEAN_STEPS}, 1, workers)
        rate = CHECKED_LOAD * workers / kind.turn
        steps = LEAST_STEPS + stream.exponential(MEAN_STEPS - LEAST_STEPS, CHECKED_FITS).astype(int)
        solvers = [{**_ADAM, "epochs": int(count)} for count in steps]
        _post_at(service.address, "checked", solvers, poisson_arrivals(stream, rate, CHECKED_FITS))
        fits = finished(service.address, "checked")
    return _compared(stream, kind, workers, fits)


def _compared(stream: np.random.Generator, kind: Service, workers: int, fits: Sequence[dict[str, Any]]) -> Check:
    came, started, ended = (_column(fits, name) for name in ("created_at", "started_at", "finished_at"))
    order = np.argsort(came)
    arrivals, seconds, real = came[order] - came.min(), (ended - started)[order], (started - came)[order]
    simulated = [
        waits(arrivals, stream.permutation(seconds), workers, kind.overhead) + kind.pickup for _ in range(REPLICATIONS)
    ]
    means, p90s = np.mean(simulated, axis=1), np.quantile(simulated, 0.9, axis=1)
    load = (float(seconds.mean()) + kind.overhead) * len(fits) / float(arrivals.max()) / workers
    return Check(workers, load, float(real.mean()), float(np.quantile(real, 0.9)), _interval(means), _interval(p90s))


def _interval(values: FloatArray) -> tuple[float, float, float]:
    low, middle, high = (float(value) for value in np.quantile(values, [0.025, 0.5, 0.975]))
    return low, middle, high


def measured(address: str, solver: dict[str, Any], most: int = 1, workers: int = 1) -> Service:
    """What a kind of fit costs a worker: some one by one, and some together, so that the queue is never empty."""
    run = f"measured-{time.monotonic_ns()}"
    for number in range(ALONE):
        _post(address, "/v1/fits", _body(f"{run}-alone", solver, number))
        alone = finished(address, f"{run}-alone")
    numbers = range(ALONE, ALONE + max(TOGETHER * workers, TURNS * most))
    _post(address, "/v1/fits:batch", {"fits": [_body(f"{run}-together", solver, number) for number in numbers]})
    together = finished(address, f"{run}-together")
    pickup = float(np.median(_column(alone, "started_at") - _column(alone, "created_at")))
    lasted = _column(together, "finished_at").max() - _column(together, "started_at").min()
    turn = float(lasted) * workers / len(together)
    if most > 1:
        # A worker's turn is divided among many: what a fit costs beyond that is what they share.
        single = float(np.median(_column(alone, "finished_at") - _column(alone, "started_at")))
        return Service(pickup, max(single - turn, 0.0), np.array([turn]), most)
    seconds = _column(together, "finished_at") - _column(together, "started_at")
    return Service(pickup, max(turn - float(seconds.mean()), 0.0), seconds)


def tables(services: Mapping[str, Service]) -> Iterator[str]:
    """The lines of a table for each kind of fit: workers needed for loads."""
    for name, kind in services.items():
        yield f"**{name}**: {1000 * float(kind.seconds.mean()):.3g} ms each, {1000 * kind.overhead:.3g} ms a turn."
        yield ""
        yield "| fits a second | " + " | ".join(f"{p99:g} s" for p99 in P99) + " |"
        yield "|---" * (1 + len(P99)) + "|"
        for rate in LOADS[name]:
            stream = np.random.default_rng(0)
            needed = [workers_needed(stream, kind, rate, p99, MOST_WORKERS, SIMULATED) for p99 in P99]
            yield f"| {rate:g} | " + " | ".join(str(count or "-") for count in needed) + " |"
        yield ""


def main() -> None:
    """Measure, and print the tables."""
    with launched({"PLUMBLINE_WORKERS": "1", "PLUMBLINE_THREADS": "1"}) as service:
        services = {
            name: measured(service.address, solver, GROUP if solver == {"kind": "exact"} else 1)
            for name, solver in KINDS.items()
        }
    for line in tables(services):
        print(line)


def _post_at(address: str, run: str, solvers: Sequence[dict[str, Any]], times: FloatArray) -> None:
    began = time.monotonic()
    for number, (solver, due) in enumerate(zip(solvers, times.tolist(), strict=True)):
        time.sleep(max(0.0, began + due - time.monotonic()))
        _post(address, "/v1/fits", _body(run, solver, number))


def _body(run: str, solver: dict[str, Any], number: int) -> dict[str, Any]:
    stream = np.random.default_rng(number)
    x = stream.normal(size=ROWS)
    columns = {"x": x.tolist(), "y": (2 * x + stream.normal(size=ROWS)).tolist()}
    return {"data": {"columns": columns}, "solver": solver, "labels": {"run": run}}


def _post(address: str, path: str, body: dict[str, Any]) -> None:
    headers = dict(header.split(": ") for header in UNHELD) | {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        answer.read()


def _column(fits: Sequence[dict[str, Any]], name: str) -> FloatArray:
    return np.array([moment(fit[name]).timestamp() for fit in fits])


if __name__ == "__main__":
    main()
