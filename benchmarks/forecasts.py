"""Forecasts of 100 000 x 10 rows, once the dataset is known, against 50 ms and against really running the fit.

All rows and batches of 64, in a fixed order and shuffled; and Adam, whose steps are simulated: in the process of this
program, compiled, and through HTTP by the serving process's own child. A fit is whole, as in `benchmarks.descent`; a
forecast begins where the data have been solved and measured by one before it, and ends with its diagnosis only through
HTTP. Each asks for a learning rate of its own, so that no answer is there before. And small descents with all that is
said of them, against the same without.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.clients import measure, post
from benchmarks.descent import run_of
from benchmarks.figure import Figure, seconds
from benchmarks.http_descent import stored
from service.fitting.data import Dataset
from service.fitting.descent.backends import engine_for
from service.fitting.descent.optimizers import Adam, Optimizer, Sgd
from service.fitting.descent.run import run
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.outlook import outlook
from service.fitting.exact import references
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.reference.compiled import COMPILED
from service.fitting.solver import Descent
from service.fitting.task import Collector
from service.launch import launched

ROWS, COLUMNS, BATCH = 100_000, 10, 64
MOST_SECONDS = 0.05
#: What is said of each, by its name: how it goes through the rows.
PLANS: dict[str, dict[str, Any]] = {
    "eigen": {"epochs": 1000},
    "epoch_map": {"epochs": 100, "batch_size": BATCH},
    "lyapunov": {"epochs": 100, "batch_size": BATCH, "shuffle": True},
    "simulated": {"epochs": 100, "batch_size": BATCH},
}
HTTP_SECONDS = 3.0
TINY_ROWS, TINY_EPOCHS = 50, 50
#: Descents by so few rows, too short to arrive: their ends are looked into in every way there is.
TINY: tuple[tuple[str, Optimizer, dict[str, Any]], ...] = (
    ("all_rows", Sgd(0.01), {}),
    ("fixed_order", Sgd(0.01), {"batch_size": 10}),
    ("shuffled", Sgd(0.01), {"batch_size": 10, "shuffle": True}),
    ("adam", Adam(0.01), {}),
)


def figures() -> Iterator[Figure]:
    """See the module."""
    yield from _tiny()
    problem = wide_problem()
    setting = Setting.of(problem, Descent(), references(problem, None, COMPILED), None, COMPILED)
    for name, plan in PLANS.items():
        run = seconds(run_of(problem, Descent(optimizer=_optimizer(name, 0.01), **plan)), repeats=1)
        forecast = seconds(_forecast(setting, name), repeats=20)
        yield Figure(f"forecast_{name}", run / forecast, 1.0, "running_the_fit")
        yield Figure(f"forecast_{name}", MOST_SECONDS / forecast, 1.0, "50_milliseconds")
    with launched() as service:
        dataset = stored(service.address, problem)
        for name in PLANS:
            bodies = _bodies(dataset, name)
            answered = measure(service.address, post("/v1/forecasts", bodies), 1, HTTP_SECONDS)
            yield Figure(f"http_forecast_{name}", MOST_SECONDS / answered.median, 1.0, "50_milliseconds")


def wide_problem() -> Problem:
    """Ten columns, none of them like another."""
    stream = np.random.default_rng(0)
    x = stream.normal(size=(ROWS, COLUMNS))
    dataset = Dataset.from_arrays(x, x @ stream.normal(size=COLUMNS) + stream.normal(size=ROWS))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


def _optimizer(name: str, learning_rate: float) -> Optimizer:
    return Adam(learning_rate) if name == "simulated" else Sgd(learning_rate)


def _rates() -> Iterator[float]:
    return (0.01 + 1e-6 * count for count in itertools.count())


def _forecast(setting: Setting, name: str) -> Callable[[], object]:
    rates = _rates()

    def work() -> None:
        # As every caller of the core does.
        with np.errstate(all="ignore"):
            descent = Descent(optimizer=_optimizer(name, next(rates)), **PLANS[name])
            seen = outlook(setting.with_solver(descent), simulate)
            assert seen.method == name
            # What is not asked for is not found.
            assert _told(seen)[-1].shape == (9,)

    return work


def _told(seen: Outlook) -> tuple[Any, ...]:
    """What a forecast says of it."""
    stands = seen.steps, seen.end, seen.end_sd, seen.is_exact
    return *stands, seen.is_stable, seen.rates, seen.limit, seen.limit_sd, seen.steps_to


def _tiny() -> Iterator[Figure]:
    """What a diagnosis takes of a small descent, remedy run and all, beside the descent without it."""
    for name, optimizer, plan in TINY:
        problem = _tiny_problem()
        descent = Descent(optimizer=optimizer, epochs=TINY_EPOCHS, **plan)
        bare = seconds(_undiagnosed(problem, descent), repeats=20)
        whole = seconds(run_of(problem, descent), repeats=20)
        yield Figure(f"diagnosis_of_a_tiny_descent_{name}", bare / whole, 0.2, "the_descent_without_it")


def _undiagnosed(problem: Problem, descent: Descent) -> Callable[[], object]:
    """Nothing is kept from the last."""

    def work() -> None:
        with np.errstate(all="ignore"):
            own = Problem(problem.dataset, problem.model)
            setting = Setting.of(own, descent, references(own, None, COMPILED), None, COMPILED)
            run(setting, Recording(), Collector(), engine_for)

    return work


def _tiny_problem() -> Problem:
    stream = np.random.default_rng(0)
    x = stream.normal(size=(TINY_ROWS, 1))
    dataset = Dataset.from_arrays(x, 2.0 * x[:, 0] + 1.0 + 0.3 * stream.normal(size=TINY_ROWS))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


def _bodies(dataset: str, name: str) -> Iterator[bytes]:
    kind = "adam" if name == "simulated" else "sgd"
    for rate in _rates():
        solver = {"kind": "descent", "optimizer": {"kind": kind, "learning_rate": rate}, **PLANS[name]}
        yield json.dumps({"data": {"dataset": dataset}, "solver": solver}).encode()
