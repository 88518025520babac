"""All engines do the same: by rows, by statistics, in closed form, and in TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.fitting.descent.backends import engine_for
from service.fitting.descent.batch_products import batch_products
from service.fitting.descent.closed_form import ClosedFormEngine, is_affine
from service.fitting.descent.engine import Arena, Block, Engine
from service.fitting.descent.numpy_engine import NumpyRowsEngine
from service.fitting.descent.numpy_statistics import NumpyStatisticsEngine
from service.fitting.descent.optimizers import Adam, Ftrl, Optimizer, Rmsprop, Sgd
from service.fitting.descent.schedules import ExponentialDecay
from service.fitting.descent.start import GlorotUniform
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Precision
from tests.fitting.descent.arenas import arena_for, every_step
from tests.fitting.descent.problems import random_problem


def _collinear() -> Problem:
    """x3 = x1 + x2, and x4 all but equal to x1: a condition number of 10^4."""
    stream = np.random.default_rng(4)
    x = stream.normal(size=(24, 2))
    x = np.column_stack([x, x.sum(axis=1), x[:, 0] + 1e-4 * stream.normal(size=24)])
    dataset = Dataset.from_arrays(x, x[:, 0] + 0.1 * stream.normal(size=24))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


@dataclass(frozen=True)
class _Case:
    problem: Callable[[], Problem]
    descent: Descent = field(default_factory=lambda: Descent(batch_size=5))


CASES = {
    "three parameters": _Case(lambda: random_problem(1, features=2)),
    "two parameters, dropping the last batch": _Case(
        lambda: random_problem(1, features=1), Descent(batch_size=5, drop_last=True)
    ),
    "one parameter": _Case(lambda: random_problem(1, features=1, intercept=False)),
    "all rows": _Case(lambda: random_problem(1), Descent()),
    "batches of one row": _Case(lambda: random_problem(1), Descent(batch_size=1)),
    "three targets without an intercept": _Case(lambda: random_problem(2, targets=3, intercept=False)),
    "weights and a penalty": _Case(
        lambda: random_problem(3, features=2, weighted=True), Descent(batch_size=5, penalty=L2(0.2))
    ),
    "scaled powers": _Case(lambda: random_problem(4, targets=2, degree=2, scaling=Scaling("standard", "minmax"))),
    "sum of squares": _Case(lambda: random_problem(5, features=2, loss="sum_squares")),
    "collinear": _Case(_collinear),
    "many parameters": _Case(lambda: random_problem(6, rows=120, features=40), Descent(batch_size=50)),
    "more rows than a block": _Case(lambda: random_problem(7, rows=20_001, features=2), Descent(batch_size=9_000)),
}
OPTIMIZERS: dict[str, Optimizer] = {
    "plain": Sgd(0.005),
    "momentum": Sgd(0.002, 0.8),
    "nesterov with decay": Sgd(0.002, 0.9, nesterov=True, weight_decay=0.3),
    "decay": Sgd(0.005, weight_decay=0.3),
    "schedule": Sgd(ExponentialDecay(0.01, 50, 0.5)),
    "clipped": Sgd(0.01, clipnorm=0.5),
    "averaged": Sgd(0.005, use_ema=True, ema_overwrite_frequency=7),
    "adam": Adam(0.01),
    "rmsprop": Rmsprop(0.01, centered=True, epsilon=1e-3),
    "ftrl": Ftrl(0.1),
}
STEPS = 130


def _engines(arena: Arena) -> list[Engine]:
    engines: list[Engine] = [NumpyStatisticsEngine(arena)]
    if is_affine(arena.rule):
        engines.append(ClosedFormEngine(arena))
    return engines


def _assert_alike(ours: Block, theirs: Block, tolerance: float) -> None:
    """Rows and state, each column by its largest number."""
    assert (ours.finite, theirs.finite) == (True, True)
    np.testing.assert_array_equal(ours.rows.step, theirs.rows.step)
    for part, names in (
        ("rows", ("parameters", "batch_squares", "epoch_squares")),
        ("state", ("step", "parameters", "slots", "average", "batch_squares", "epoch_squares")),
    ):
        for name in names:
            own, other = (np.asarray(getattr(getattr(block, part), name)) for block in (ours, theirs))
            assert own.dtype == other.dtype
            np.testing.assert_allclose(own, other, rtol=0, atol=tolerance * np.abs(other).max(), err_msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", CASES)
def test_by_statistics_and_in_closed_form_as_by_rows(case: str, optimizer: str) -> None:
    descent = replace(CASES[case].descent, optimizer=OPTIMIZERS[optimizer], start=GlorotUniform(), epochs=STEPS)
    arena, state = arena_for(CASES[case].problem(), descent)
    by_rows = every_step(NumpyRowsEngine(arena), state, STEPS)
    for engine in _engines(arena):
        _assert_alike(every_step(engine, state, STEPS), by_rows, 1e-9)


@pytest.mark.parametrize("optimizer", ["plain", "nesterov with decay", "adam"])
@pytest.mark.parametrize("case", ["three parameters", "weights and a penalty", "scaled powers"])
def test_by_statistics_as_by_rows_in_float32(case: str, optimizer: str) -> None:
    descent = replace(CASES[case].descent, optimizer=OPTIMIZERS[optimizer], dtype="float32", epochs=STEPS)
    arena, state = arena_for(CASES[case].problem(), descent)
    by_rows = every_step(NumpyRowsEngine(arena), state, STEPS)
    _assert_alike(every_step(NumpyStatisticsEngine(arena), state, STEPS), by_rows, 1e-4)


@pytest.mark.parametrize("optimizer", ["plain", "momentum", "adam"])
@pytest.mark.parametrize("case", ["three parameters", "weights and a penalty", "scaled powers"])
def test_as_in_tensorflow(case: str, optimizer: str) -> None:
    descent = replace(CASES[case].descent, optimizer=OPTIMIZERS[optimizer], start=GlorotUniform(), epochs=STEPS)
    arena, state = arena_for(CASES[case].problem(), descent)
    engine, longest = engine_for("tensorflow", arena)
    steps = min(longest, STEPS)
    theirs = every_step(engine, state, steps)
    for own in _engines(arena):
        _assert_alike(every_step(own, state, steps), theirs, 1e-9)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", ["three parameters", "weights and a penalty"])
def test_nothing_hangs_on_where_blocks_are_cut(case: str, optimizer: str, precision: Precision) -> None:
    descent = replace(CASES[case].descent, optimizer=OPTIMIZERS[optimizer], dtype=precision, epochs=STEPS)
    arena, state = arena_for(CASES[case].problem(), descent)
    for engine in _engines(arena):
        whole, cut = every_step(engine, state, STEPS), state
        for count in (1, 2, 30, STEPS - 33):
            block = every_step(engine, cut, count)
            rows, places = block.rows, block.rows.step - 1
            np.testing.assert_array_equal(rows.parameters, whole.rows.parameters[places])
            np.testing.assert_array_equal(rows.batch_squares, whole.rows.batch_squares[places])
            np.testing.assert_array_equal(rows.epoch_squares, whole.rows.epoch_squares[places])
            cut = block.state
        for name in ("step", "parameters", "slots", "average", "batch_squares", "epoch_squares"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(whole.state, name))


def test_nothing_hangs_on_how_much_is_recorded() -> None:
    for case in ("three parameters", "weights and a penalty"):
        arena, state = arena_for(CASES[case].problem(), replace(CASES[case].descent, epochs=STEPS))
        for engine in _engines(arena):
            whole = every_step(engine, state, STEPS)
            some = engine.advance(state, STEPS, None, np.array([3, 5, 77]))
            np.testing.assert_array_equal(some.rows.step, [3, 5, 77])
            np.testing.assert_array_equal(some.rows.parameters, whole.rows.parameters[[2, 4, 76]])
            np.testing.assert_array_equal(some.rows.epoch_squares, whole.rows.epoch_squares[[2, 4, 76]])
            np.testing.assert_array_equal(some.state.parameters, whole.state.parameters)


@pytest.mark.parametrize("optimizer", ["plain", "momentum"])
@pytest.mark.parametrize("case", ["all rows", "three parameters", "weights and a penalty"])
def test_divergence_ends_alike(case: str, optimizer: str) -> None:
    """Where numbers leave float64 a step sooner or later is a matter of rounding."""
    rule = replace(OPTIMIZERS[optimizer], learning_rate=50.0)
    arena, state = arena_for(CASES[case].problem(), replace(CASES[case].descent, optimizer=rule, epochs=1000))
    by_rows = every_step(NumpyRowsEngine(arena), state, 1000)
    assert not by_rows.finite
    for engine in _engines(arena):
        block = every_step(engine, state, 1000)
        assert not block.finite
        assert abs(block.state.step - by_rows.state.step) <= 1
        np.testing.assert_array_equal(block.rows.step, np.arange(1, block.state.step + 1))
        assert np.isfinite(block.rows.parameters).all()
        assert np.isfinite(block.rows.batch_squares).all()
        np.testing.assert_array_equal(block.state.parameters, block.rows.parameters[-1])


def test_a_start_that_goes_nowhere_records_nothing() -> None:
    arena, state = arena_for(random_problem(1, features=2), Descent(epochs=5))
    lost = replace(state, parameters=np.full_like(state.parameters, 1e300))
    statistics = every_step(NumpyStatisticsEngine(arena), lost, 5)
    closed = ClosedFormEngine(replace(arena, origin=replace(arena.origin, parameters=lost.parameters)))
    for block in (statistics, every_step(closed, lost, 5)):
        assert not block.finite
        assert block.state.step == len(block.rows.step) == 0
        np.testing.assert_array_equal(block.state.parameters, lost.parameters)


@pytest.mark.parametrize("size", [1.0, 1e200])
def test_threads_form_the_same_products(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = np.random.default_rng(3)
    dataset = Dataset.from_arrays(size * stream.normal(size=(1003, 2)), stream.normal(size=1003))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    arena, _ = arena_for(problem, Descent(batch_size=7))
    alone = batch_products(arena)
    monkeypatch.setattr("service.fitting.descent.batch_products.threads", lambda: 3)
    monkeypatch.setattr("service.fitting.descent.batch_products._LEAST_SHARE", 1)
    np.testing.assert_array_equal(batch_products(arena), alone)
    assert np.isfinite(alone).all() == (size == 1.0)
