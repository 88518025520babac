"""Seconds a step of batched descent, recorded by epoch, against Keras's own `fit`; and what small and long ones take.

Batched: 100 000 x 2 rows in batches of 64. Keras runs two epochs after one that compiles, ours as many as make a second
or so; the times a step are compared. Small: 50 rows, 1000 epochs by all of them, Keras too. All of ours is end to end:
exact reference and its inference included.
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
from service.fitting.task import Progress
from service.fitting.trajectory import Trajectory

ROWS, BATCH = 100_000, 64
STEPS_AN_EPOCH = -(-ROWS // BATCH)
SMALL_ROWS, SMALL_EPOCHS = 50, 1000
SMALL_SECONDS = 0.005
FAR_STEPS = 10**9
FAR_SECONDS = 0.05
#: How many times longer a descent may take of which every step is recorded.
MOST_SLOWER = 2.0


def figures() -> Iterator[Figure]:
    """See the module."""
    yield from _batched()
    yield from _recording()
    yield from _small()
    yield from _far()


def _batched() -> Iterator[Figure]:
    problem = normal_problem(ROWS)
    default = keras_seconds_a_step(problem, BATCH, epochs=2)
    tuned = keras_seconds_a_step(problem, BATCH, epochs=2, steps_per_execution=500, jit_compile=True)
    fixed_order = _ours(problem, "numpy", "float64", epochs=1000)
    yield Figure("descent_numpy_fixed_order", default / fixed_order, 20_000.0, "keras_fit_default")
    yield Figure("descent_numpy_fixed_order", tuned / fixed_order, 5_000.0, "keras_fit_tuned")
    shuffled = _ours(problem, "numpy", "float64", epochs=200, shuffle=True)
    yield Figure("descent_numpy_shuffled", default / shuffled, 300.0, "keras_fit_default")
    tensorflow = _ours(problem, "tensorflow", "float32", epochs=200)
    yield Figure("descent_tensorflow", default / tensorflow, 300.0, "keras_fit_default")
    yield Figure("descent_tensorflow", tuned / tensorflow, 60.0, "keras_fit_tuned")


def _recording() -> Iterator[Figure]:
    problem, descent = normal_problem(ROWS), Descent(epochs=300, batch_size=BATCH)
    by_epoch = seconds(run_of(problem, descent), repeats=5)
    every_step = seconds(run_of(problem, descent, Recording("step", limit=10**9)), repeats=5)
    yield Figure("descent_every_step_recorded", by_epoch / every_step, 1.0 / MOST_SLOWER, "recorded_by_epoch")


def _small() -> Iterator[Figure]:
    problem = normal_problem(SMALL_ROWS)
    ours = seconds(run_of(problem, Descent(epochs=SMALL_EPOCHS)), repeats=50)
    keras_fit = SMALL_EPOCHS * keras_seconds_a_step(problem, SMALL_ROWS, epochs=SMALL_EPOCHS)
    yield Figure("descent_small", keras_fit / ours, 1.0, "keras_fit_default")
    yield Figure("descent_small", SMALL_SECONDS / ours, 1.0, "5_milliseconds")


def _far() -> Iterator[Figure]:
    problem = normal_problem(SMALL_ROWS)
    for name, batch_size in (("all_rows", None), ("fixed_order", 10)):
        descent = Descent(epochs=FAR_STEPS, max_steps=FAR_STEPS, batch_size=batch_size)
        ours = seconds(run_of(problem, descent, Recording("epoch", limit=1000)), repeats=10)
        yield Figure(f"descent_to_step_1e9_{name}", FAR_SECONDS / ours, 1.0, "50_milliseconds")


def normal_problem(rows: int) -> Problem:
    stream = np.random.default_rng(0)
    x = stream.normal(size=(rows, 2))
    dataset = Dataset.from_arrays(x, x.mean(axis=1) + 0.1 * stream.normal(size=rows))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


def _ours(problem: Problem, backend: Backend, dtype: Precision, epochs: int, *, shuffle: bool = False) -> float:
    descent = Descent(backend=backend, dtype=dtype, epochs=epochs, batch_size=BATCH, shuffle=shuffle)
    return seconds(run_of(problem, descent), repeats=3) / (epochs * STEPS_AN_EPOCH)


class _Nobody:
    """An observer who lets go of everything, as a child does once it has sent it."""

    def glimpsed(self, rows: Callable[[], Trajectory]) -> None:
        pass

    def progress(self, progress: Progress) -> bool:  # noqa: ARG002
        return True

    def recorded(self, part: Trajectory) -> None:
        pass


def run_of(problem: Problem, descent: Descent, recording: Recording | None = None) -> Callable[[], object]:
    """A new problem each time: nothing may be kept from the last."""
    dataset, model = problem.dataset, problem.model
    return lambda: fit(Problem(dataset, model), descent, recording or Recording("epoch"), _Nobody())


def keras_seconds_a_step(problem: Problem, batch_size: int, epochs: int, **tuning: int | bool) -> float:
    """Seconds a step, after an epoch that compiles."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.01), "mse", **tuning)
    x, y = problem.x.astype(np.float32), problem.y.astype(np.float32)
    model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
    began = time.perf_counter()
    model.fit(x, y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
    return (time.perf_counter() - began) / (epochs * -(-len(x) // batch_size))
