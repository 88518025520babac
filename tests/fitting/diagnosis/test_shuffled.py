"""Forecasts of shuffled descents against many real runs: the same request with other seeds."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.numpy_engine import NumpyRowsEngine
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import Values
from service.fitting.descent.working_rows import WorkingRows
from service.fitting.diagnosis.shuffled import shuffled_outlook
from service.fitting.diagnosis.shuffled_course import Moments, Sample, growth_of
from service.fitting.exact import references
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.reference.compiled import COMPILED
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem

RUNS = 150
#: Of an estimated standard deviation, one part in so many runs: 1 / sqrt(2 (RUNS - 1)). Four of them, and our own.
MOST_OFF = 0.2 + 4.0 / np.sqrt(2.0 * (RUNS - 1))


@pytest.fixture(autouse=True)
def _as_callers_do() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def setting_of(problem: Problem, descent: Descent) -> Setting:
    return Setting.of(problem, descent, references(problem, descent.penalty, COMPILED), None, COMPILED)


def shuffled(optimizer: Sgd, batch_size: int, epochs: int, **options: Any) -> Descent:
    return replace(Descent(), optimizer=optimizer, batch_size=batch_size, epochs=epochs, shuffle=True, **options)


def runs(setting: Setting, steps: list[int], count: int = RUNS) -> FloatArray:
    """(count, steps, m, q) where as many real runs are after so many steps, in the user's units."""
    states = []
    for seed in range(count):
        beginning = setting.with_solver(replace(setting.solver, seed=1000 + seed)).beginning
        orders = beginning.row_orders().for_steps(0, steps[-1])
        engine = NumpyRowsEngine(setting.arena)
        block = engine.advance(beginning.state, steps[-1], orders, np.array(steps))
        assert block.finite
        states.append(block.rows.parameters)
    return setting.problem.units.to_user(np.array(states))


def uncentred(scaling: Scaling | None = None) -> Problem:
    stream = np.random.default_rng(7)
    x = stream.normal(5.0, 1.0, (200, 2)) * (1.0, 3.0)
    dataset = Dataset.from_arrays(x, x @ (1.0, 2.0) + stream.normal(size=200))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), scaling or Scaling())


FAR = Values(coefficients=((100.0,), (-50.0,), (20.0,)), intercept=(30.0,))

CASES = {
    "few rows": (random_problem(3, 23, 2), shuffled(Sgd(0.02), 5, 60)),
    "single rows": (random_problem(3, 100, 3), shuffled(Sgd(0.02), 1, 20)),
    "half of the rows": (random_problem(3, 300, 1), shuffled(Sgd(0.2), 150, 30)),
    "more rows than a sample has": (random_problem(3, 3000, 2), shuffled(Sgd(0.05), 64, 4)),
    "six parameters": (random_problem(3, 300, 5), shuffled(Sgd(0.05), 32, 40)),
    "half of the largest rate": (random_problem(3, 100, 3), shuffled(Sgd(0.3), 10, 40)),
    "a short last batch": (random_problem(3, 101, 3), shuffled(Sgd(0.05), 10, 40)),
    "a dropped last batch": (random_problem(3, 109, 3), shuffled(Sgd(0.05), 10, 40, drop_last=True)),
    "a single batch of some rows": (random_problem(3, 15, 3), shuffled(Sgd(0.05), 10, 60, drop_last=True)),
    "momentum": (random_problem(3, 100, 3), shuffled(Sgd(0.01, 0.9), 10, 60)),
    "nesterov": (random_problem(3, 100, 3), shuffled(Sgd(0.01, 0.9, nesterov=True), 10, 60)),
    "weight decay": (random_problem(3, 100, 3), shuffled(Sgd(0.05, weight_decay=0.3), 10, 40)),
    "momentum and weight decay": (random_problem(3, 100, 3), shuffled(Sgd(0.01, 0.9, weight_decay=0.3), 10, 60)),
    "a penalty": (random_problem(3, 100, 3), shuffled(Sgd(0.05), 10, 40, penalty=L2(0.3))),
    "sum of squares": (random_problem(3, 100, 3, loss="sum_squares"), shuffled(Sgd(0.002), 10, 40)),
    "sum of squares with a penalty and a short last batch": (
        random_problem(3, 103, 3, loss="sum_squares"),
        shuffled(Sgd(0.002), 10, 60, penalty=L2(3.0)),
    ),
    "weights and two targets": (random_problem(3, 100, 3, 2, weighted=True), shuffled(Sgd(0.05), 10, 40)),
    "no intercept": (random_problem(3, 100, 3, 2, intercept=False), shuffled(Sgd(0.05), 10, 40)),
    "columns far from 0": (uncentred(), shuffled(Sgd(0.001), 10, 200)),
    "standardised": (uncentred(Scaling("standard", "standard")), shuffled(Sgd(0.02), 10, 40)),
    "float32": (random_problem(3, 100, 3), shuffled(Sgd(0.05), 10, 40, dtype="float32")),
    "a start that is far away": (random_problem(3, 100, 3), shuffled(Sgd(0.02), 10, 60, start=FAR)),
}


@pytest.mark.parametrize("case", CASES)
def test_mean_and_deviation_are_those_of_many_runs(case: str) -> None:
    problem, descent = CASES[case]
    setting = setting_of(problem, descent)
    total = setting.plan.total_steps
    steps = sorted({max(round(share * total), 1) for share in (0.02, 0.1, 0.4, 1.0)})
    for after, states in zip(steps, runs(setting, steps).swapaxes(0, 1), strict=True):
        foreseen = shuffled_outlook(setting.with_solver(replace(descent, max_steps=after)))
        mean, sd = states.mean(axis=0), states.std(axis=0, ddof=1)
        assert foreseen.steps == after
        assert foreseen.is_stable
        np.testing.assert_allclose(sd / foreseen.end_sd, 1.0, atol=MOST_OFF, err_msg=f"after {after}")
        off = np.abs(mean - problem.units.to_user(foreseen.end)) / sd
        assert off.max() <= 4.0 / np.sqrt(RUNS) + 0.1, f"after {after}"


def test_it_leads_to_the_mean_of_where_long_runs_are() -> None:
    x = np.random.default_rng(1).normal(size=(60, 1))
    dataset = Dataset.from_arrays(x, np.exp(x[:, 0]))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    setting = setting_of(problem, shuffled(Sgd(0.002), 1, 250))
    foreseen = shuffled_outlook(setting)
    assert foreseen.limit is not None
    ends = runs(setting, [60 * epoch for epoch in range(100, 251, 10)], 40)
    states, limit = ends.reshape(-1, 2, 1), problem.units.to_user(foreseen.limit)
    np.testing.assert_allclose(states.std(axis=0) / foreseen.limit_sd, 1.0, atol=0.25)
    np.testing.assert_allclose(states.mean(axis=0), limit, atol=0.2 * float(foreseen.limit_sd.max()))
    # That is not where least squares lead: long rows count for more.
    assert (np.abs(limit - setting.optimum.parameters) > 0.5 * foreseen.limit_sd).any()


def test_gaps_arrive_when_runs_do() -> None:
    problem, descent = random_problem(3, 300, 2), shuffled(Sgd(0.01), 10, 40)
    setting = setting_of(problem, descent)
    foreseen, steps = shuffled_outlook(setting), list(range(1, 1201))
    away = runs(setting, steps, 40) - setting.optimum.parameters
    gaps = np.sqrt(np.square(away).sum(axis=(2, 3)).mean(axis=0))
    start = float(np.linalg.norm(setting.gap_at_start))
    for fraction in (0.5, 0.1, 0.03):
        measured = 1 + steps[int(np.flatnonzero(gaps > fraction * start)[-1])]
        assert foreseen.steps_until(fraction * start) == pytest.approx(measured, rel=0.1)
    assert foreseen.steps_to[0] == foreseen.steps_until(0.1 * start)
    # The floor is above the rest.
    assert np.isnan(foreseen.steps_to[-1])
    assert foreseen.steps_until(1e-9) is None
    assert foreseen.steps_until(2.0 * start) == 0


@pytest.mark.parametrize("batch_size", [1, 10])
def test_beyond_the_largest_rate_runs_go_astray_and_below_it_they_do_not(batch_size: int) -> None:
    setting = setting_of(random_problem(3, 100, 3), shuffled(Sgd(0.01), batch_size, 100))
    largest = shuffled_outlook(setting).largest_stable_learning_rate
    assert largest is not None
    start = np.linalg.norm(setting.gap_at_start)

    def foreseen_and_gap(rate: float) -> tuple[bool | None, float]:
        other = setting.with_solver(replace(setting.solver, optimizer=Sgd(rate)))
        beginning, last = other.beginning, other.plan.total_steps
        orders = beginning.row_orders().for_steps(0, last)
        block = NumpyRowsEngine(other.arena).advance(beginning.state, last, orders, np.array([last]))
        gap = np.linalg.norm(block.state.parameters - other.optimum.scaled)
        return shuffled_outlook(other).is_stable, float(gap)

    is_stable, gap = foreseen_and_gap(0.5 * largest)
    assert is_stable is True
    assert gap < start
    is_stable, gap = foreseen_and_gap(3.0 * largest)
    assert is_stable is False
    assert gap > 1e3 * start


def test_batches_of_nearly_all_rows_bear_what_all_rows_do() -> None:
    setting = setting_of(random_problem(3, 100, 3), shuffled(Sgd(0.01), 99, 10, drop_last=True))
    rates = shuffled_outlook(setting)
    bound = 2.0 / setting.spectrum.eigenvalues.max()
    assert rates.largest_stable_learning_rate == pytest.approx(bound, rel=0.02)
    assert rates.best_learning_rate is not None
    assert rates.best_learning_rate <= bound / 2.0


def test_a_perfect_fit_has_no_floor() -> None:
    x = np.random.default_rng(1).normal(size=(50, 2))
    dataset = Dataset.from_arrays(x, x @ (1.0, -2.0))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    foreseen = shuffled_outlook(setting_of(problem, shuffled(Sgd(0.05), 5, 10)))
    assert foreseen.limit is not None
    np.testing.assert_allclose(foreseen.limit, [[0.0], [1.0], [-2.0]], atol=1e-12)
    np.testing.assert_allclose(foreseen.limit_sd, 0.0, atol=1e-12)
    assert (foreseen.end_sd > 1e-6).all()
    assert np.isfinite(foreseen.steps_to).all()


def test_flat_directions_stay_where_they_start() -> None:
    x = np.random.default_rng(1).normal(size=(60, 2))
    dataset = Dataset.from_arrays(np.column_stack([x, x.sum(axis=1)]), x @ (1.0, -2.0) + 0.1)
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=False))
    start = Values(coefficients=((3.0,), (3.0,), (-3.0,)), intercept=())
    setting = setting_of(problem, shuffled(Sgd(0.02), 6, 200, start=start))
    foreseen = shuffled_outlook(setting)
    flat = np.array([1.0, 1.0, -1.0]) / np.sqrt(3.0)
    place = int(np.flatnonzero(setting.spectrum.is_flat)[0])
    assert foreseen.limit is not None
    assert float(flat @ foreseen.limit[:, 0]) == pytest.approx(9.0 / np.sqrt(3.0))
    assert foreseen.rates[place] == 1.0
    assert np.isnan(foreseen.steps_to_by_direction[place]).all()
    assert np.isfinite(foreseen.steps_to_by_direction[:, 0]).sum() == 2


def test_what_runs_away_is_finite_up_to_some_step() -> None:
    foreseen = shuffled_outlook(setting_of(random_problem(3, 100, 3), shuffled(Sgd(1e3), 10, 10_000)))
    assert foreseen.is_stable is False
    assert foreseen.limit is None
    assert 0 < foreseen.steps < 100_000
    assert np.isfinite(foreseen.end).all()


def test_a_second_forecast_of_the_same_data_looks_at_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = setting_of(random_problem(3, 100, 3), shuffled(Sgd(0.05), 10, 40))
    assert shuffled_outlook(setting).is_stable
    monkeypatch.delattr(WorkingRows, "block")
    assert shuffled_outlook(setting.with_solver(shuffled(Sgd(0.01), 5, 40))).is_stable


@pytest.mark.parametrize("count", [1, 2, 5])
def test_moments_say_of_few_directions_what_the_rows_do(count: int) -> None:
    stream = np.random.default_rng(count)
    weights = stream.uniform(0.5, 1.5, 40)
    sample = Sample(stream.normal(3.0, 1.0, (40, count)), stream.normal(size=40), weights / weights.sum())
    moments, sides = Moments.of(sample), stream.normal(size=(3, count + 1, 2 * count)) * (1.0 + 0.5j)
    places, gaps = np.repeat(np.arange(count), 2), stream.normal(size=(3, count))
    covariance = gaps.T @ gaps
    np.testing.assert_allclose(moments.at(gaps), sample.at(gaps), rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(moments.spread(covariance), sample.spread(covariance), rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(moments.along(sides, places), sample.along(sides, places), rtol=1e-9, atol=1e-7)
    held = 1e-3 * np.ones((count, count))
    assert growth_of(moments, held, 30) == pytest.approx(growth_of(sample, held, 30), rel=1e-9)
