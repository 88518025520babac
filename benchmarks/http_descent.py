"""Descents through HTTP, from the request to the stored answer, against Keras's own `fit`, which stores nothing.

The problem of `benchmarks.descent`: its dataset is stored beforehand, as a client's is who fits it again and again.
Ours are whole requests, held until the fit is finished: queue, data, reference, steps, trajectory, answer. And small
ones, 50 rows and 1000 epochs, that bring their data along and are answered without the queue.
"""

import itertools
import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.clients import FRESH, measure, post
from benchmarks.descent import (
    BATCH,
    ROWS,
    SMALL_EPOCHS,
    SMALL_ROWS,
    STEPS_AN_EPOCH,
    keras_seconds_a_step,
    normal_problem,
)
from benchmarks.figure import Figure, seconds
from service.fitting.problem import Problem
from service.launch import launched

FIXED: dict[str, Any] = {"kind": "descent", "batch_size": BATCH, "epochs": 1000}
SHUFFLED = FIXED | {"shuffle": True, "epochs": 200}
TENSORFLOW = FIXED | {"backend": "tensorflow", "dtype": "float32", "epochs": 200}
SECONDS = 3.0


def figures() -> Iterator[Figure]:
    """See the module."""
    problem = normal_problem(ROWS)
    default = keras_seconds_a_step(problem, BATCH, 2)
    tuned = keras_seconds_a_step(problem, BATCH, 2, steps_per_execution=500, jit_compile=True)
    with launched() as service:
        dataset = stored(service.address, problem)
        for name, solver, goals in (
            ("http_descent_numpy_fixed_order", FIXED, (20_000.0, 5_000.0)),
            ("http_descent_numpy_shuffled", SHUFFLED, (300.0, None)),
            ("http_descent_tensorflow", TENSORFLOW, (300.0, 60.0)),
        ):
            body = {"data": {"dataset": dataset}, "solver": solver}
            ours = seconds(_posted(service.address, body), repeats=2) / (solver["epochs"] * STEPS_AN_EPOCH)
            yield Figure(name, default / ours, goals[0], "keras_fit_default")
            if goals[1] is not None:
                yield Figure(name, tuned / ours, goals[1], "keras_fit_tuned")
        small = measure(service.address, post("/v1/fits", _small_bodies(), FRESH), 1, SECONDS)
        theirs = keras_seconds_a_step(normal_problem(SMALL_ROWS), SMALL_ROWS, SMALL_EPOCHS) * SMALL_EPOCHS
        yield Figure("http_small_descent", theirs / small.median, 1.0, "keras_fit_default")


def stored(address: str, problem: Problem) -> str:
    """The id of the problem's dataset, which an exact fit of it brings in."""
    columns = {name: problem.dataset.columns((name,))[:, 0].tolist() for name in problem.dataset.names}
    fit = _post(address, {"data": {"columns": columns}, "solver": {"kind": "exact"}})
    dataset: str = fit["dataset"]
    return dataset


def _posted(address: str, body: dict[str, Any]) -> Callable[[], object]:
    return lambda: _post(address, body)


def _post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Prefer": "wait=60", "Cache-Control": "no-cache"}
    request = urllib.request.Request(f"{address}/v1/fits", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        fit: dict[str, Any] = json.load(answer)
    if fit["status"] != "succeeded":
        raise RuntimeError(f"the fit is {fit['status']}: {fit['error']}")
    return fit


def _small_bodies() -> Iterator[bytes]:
    stream = np.random.default_rng(0)
    x = stream.normal(size=SMALL_ROWS)
    columns = {"x": x.tolist(), "y": (2 * x + stream.normal(size=SMALL_ROWS)).tolist()}
    solver = {"kind": "descent", "epochs": SMALL_EPOCHS}
    for number in itertools.count():
        columns["y"][0] = number * 1e-6
        yield json.dumps({"data": {"columns": columns}, "solver": solver}).encode()
