"""Which engine takes the steps, and that nobody waits for a compiler twice."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.fitting.descent import backends
from service.fitting.descent.backends import closed_form, engine_for
from service.fitting.descent.optimizers import Adam, Sgd
from service.fitting.descent.schedules import ExponentialDecay
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Stop
from tests.fitting.descent.arenas import arena_for
from tests.fitting.descent.problems import random_problem, solve

LONG = 10**9


@pytest.mark.parametrize(
    ("descent", "engine"),
    [
        (Descent(), "numpy_closed_form"),
        (Descent(shuffle=True), "numpy_closed_form"),
        (Descent(optimizer=Sgd(0.1, 0.9, nesterov=True, weight_decay=0.1)), "numpy_closed_form"),
        (Descent(batch_size=50), "numpy_closed_form"),
        (Descent(batch_size=5), "numpy_statistics"),
        (Descent(batch_size=5, epochs=LONG), "numpy_closed_form"),
        (Descent(batch_size=5, epochs=LONG, optimizer=Adam()), "numpy_statistics"),
        (Descent(stop=Stop(gap_tolerance=1e-3)), "numpy_statistics"),
        (Descent(stop=Stop(max_seconds=9.0)), "numpy_closed_form"),
        (Descent(dtype="float32"), "numpy_statistics"),
        (Descent(optimizer=Adam()), "numpy_statistics"),
        (Descent(optimizer=Sgd(ExponentialDecay(0.1, 10, 0.5))), "numpy_statistics"),
        (Descent(optimizer=Sgd(clipvalue=1.0)), "numpy_statistics"),
        (Descent(optimizer=Sgd(use_ema=True)), "numpy_statistics"),
        (Descent(batch_size=5, shuffle=True), "numpy_rows"),
        (Descent(batch_size=5, shuffle=True, epochs=LONG), "numpy_rows"),
        (Descent(backend="tensorflow"), "tensorflow_xla"),
    ],
)
def test_the_engine_is_the_quickest_that_can(descent: Descent, engine: str) -> None:
    arena, _ = arena_for(random_problem(1, rows=300), descent)
    assert engine_for(descent.backend, arena)[0].name == engine


@pytest.mark.parametrize("epochs", [1, 10**5])
def test_it_does_not_hang_on_how_many_epochs_are_asked_for(epochs: int) -> None:
    for descent in (Descent(), Descent(batch_size=5), Descent(batch_size=5, shuffle=True)):
        arena, _ = arena_for(random_problem(1, rows=300), replace(descent, epochs=epochs))
        usual, _ = arena_for(random_problem(1, rows=300), descent)
        assert engine_for("numpy", arena)[0].name == engine_for("numpy", usual)[0].name


def test_statistics_must_be_smaller_than_the_data() -> None:
    problem = random_problem(1, rows=40_000, features=9)
    for batch_size, engine in ((10, "numpy_rows"), (100, "numpy_statistics")):
        arena, _ = arena_for(problem, Descent(batch_size=batch_size))
        assert engine_for("numpy", arena)[0].name == engine


@pytest.mark.parametrize(
    ("features", "descent", "engine"),
    [
        ([[1.0, 1.0 + 1e-5], [2.0, 2.0], [3.0, 3.0 - 1e-5], [5.0, 5.0]], Descent(optimizer=Adam()), "numpy_rows"),
        ([[1e-160], [2e-160], [3e-160], [5e-160]], Descent(), "numpy_rows"),
        ([[1e160], [2e160], [3e160], [5e160]], Descent(), "numpy_rows"),
        ([[1.0, 1.0 + 1e-5], [2.0, 2.0], [3.0, 3.0 - 1e-5], [5.0, 5.0]], Descent(), "numpy_closed_form"),
    ],
    ids=["ill-conditioned", "too small", "too large", "exactly enough"],
)
def test_products_that_would_lose_digits_are_not_formed(
    features: list[list[float]], descent: Descent, engine: str
) -> None:
    dataset = Dataset.from_arrays(np.array(features), np.array([1.0, 2.0, 4.0, 4.0]))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    with np.errstate(all="ignore"):
        arena, _ = arena_for(problem, descent)
        assert engine_for("numpy", arena)[0].name == engine
        assert (closed_form(arena) is None) == (engine == "numpy_rows")


@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "standard")])
def test_no_engine_but_that_by_rows_holds_all_rows(scaling: Scaling) -> None:
    for descent in (Descent(), Descent(batch_size=5)):
        arena, state = arena_for(random_problem(1, rows=300, scaling=scaling), descent)
        engine_for("numpy", arena)[0].advance(state, 10, None, np.arange(1, 11))
        assert not {"design", "targets", "_whole"} & vars(arena.rows).keys()


#: Fits that have everything compiled that a descent on the NumPy backend may need.
WARMING = (
    Descent(batch_size=1, shuffle=True),
    Descent(stop=Stop(gap_tolerance=0.0)),
    Descent(optimizer=Adam()),
)
_PROGRAM = """
from numba.core import event
from tests.fitting.descent.problems import random_problem, solve
from tests.fitting.descent.test_backends import OTHERS
with event.install_recorder("numba:compile") as recorder:
    engines = {solve(random_problem(1, targets=targets), other).report.engine for targets, other in OTHERS}
print(*sorted(engines), len(recorder.buffer))
"""
#: Others, which need nothing more.
OTHERS = (
    (2, Descent(batch_size=7, shuffle=True, optimizer=Sgd(0.01, 0.9), epochs=3)),
    (1, Descent(batch_size=7, epochs=3, stop=Stop(gap_tolerance=1e-9))),
    (3, Descent(batch_size=5, optimizer=Adam(ExponentialDecay(0.1, 10, 0.5), clipnorm=1.0, use_ema=True), epochs=3)),
)


def test_another_process_compiles_nothing_again() -> None:
    engines = {solve(random_problem(1, features=1), descent).report.engine for descent in WARMING}
    assert engines == {"numpy_rows", "numpy_statistics"}
    said = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["numpy_rows", "numpy_statistics", "0"]


def test_a_closed_form_needs_no_compiler() -> None:
    program = f"import sys, {backends.__name__}; print({{'numba', 'tensorflow'}} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
