"""Seconds a step of batched descent, recorded by epoch, against Keras's own `fit`.

100 000 x 2 rows in batches of 64. Keras runs two epochs after one that compiles, ours as many as make a second or so;
the times a step are compared.
"""

import time
from collections.abc import Callable, Iterator

import keras
import numpy as np

from benchmarks.figure import Figure, seconds
from service.fitting.data import Dataset
from service.fitting.fit import fit
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.solver import Backend, Descent, Precision

ROWS, BATCH = 100_000, 64
STEPS_AN_EPOCH = -(-ROWS // BATCH)


def figures() -> Iterator[Figure]:
    """See the module."""
    problem = _problem()
    default = _keras(problem)
    tuned = _keras(problem, steps_per_execution=500, jit_compile=True)
    for name, ours, goals in (
        ("descent_numpy_fixed_order", _ours(problem, "numpy", "float64", epochs=1000), (20_000.0, 5_000.0)),
        ("descent_numpy_shuffled", _ours(problem, "numpy", "float64", epochs=200, shuffle=True), (300.0, 300.0)),
        ("descent_tensorflow", _ours(problem, "tensorflow", "float32", epochs=200), (300.0, 60.0)),
    ):
        yield Figure(name, default / ours, goals[0], "keras_fit_default")
        yield Figure(name, tuned / ours, goals[1], "keras_fit_tuned")


def _problem() -> Problem:
    stream = np.random.default_rng(0)
    x = stream.normal(size=(ROWS, 2))
    dataset = Dataset.from_arrays(x, x.mean(axis=1) + 0.1 * stream.normal(size=ROWS))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


def _ours(problem: Problem, backend: Backend, dtype: Precision, epochs: int, *, shuffle: bool = False) -> float:
    descent = Descent(backend=backend, dtype=dtype, epochs=epochs, batch_size=BATCH, shuffle=shuffle)
    return seconds(_run(problem, descent), repeats=2) / (epochs * STEPS_AN_EPOCH)


def _run(problem: Problem, descent: Descent) -> Callable[[], object]:
    return lambda: fit(problem, descent, Recording("epoch"), lambda _: True)


def _keras(problem: Problem, **tuning: int | bool) -> float:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.01), "mse", **tuning)
    x, y = problem.x.astype(np.float32), problem.y.astype(np.float32)
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    began = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    return (time.perf_counter() - began) / (2 * STEPS_AN_EPOCH)
