"""What is foreseen of linear descents, against the same descents really run, and against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from service.datasets.cases import case
from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import Ended, Normal, Values
from service.fitting.diagnosis.answer import FRACTIONS
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem
from tests.fitting.diagnosis.linear_problems import drawn, foreseen, really, setting_of

RULES = {
    "plain": Sgd(0.1),
    "decay": Sgd(0.1, weight_decay=1e-2),
    "momentum": Sgd(0.02, 0.9),
    "nesterov": Sgd(0.02, 0.9, nesterov=True),
    "both": Sgd(0.02, 0.5, weight_decay=0.1),
}
BATCHES = {"all": None, "two": 12, "four": 7}


def _case(name: str, solver: Descent, scaling: Scaling | None = None) -> Setting:
    found = case(name)
    assert found is not None
    dataset = found.dataset()
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), scaling or Scaling())
    return setting_of(problem, solver)


def _error(setting: Setting, end: FloatArray, real: FloatArray) -> float:
    size = max(np.abs(real).max(), np.abs(setting.optimum.scaled).max())
    return float(np.abs(end - real).max() / (size or 1.0))


@pytest.mark.parametrize("first", range(0, 120, 10))
def test_the_end_is_that_of_the_real_run(first: int) -> None:
    """Random problems and solvers, where the form is exact; at most one of ten is not said to be."""
    exact = 0
    for seed in range(first, first + 10):
        setting = drawn(seed, 5_000)
        seen = foreseen(setting)
        assert seen.steps == setting.plan.total_steps, seed
        error = _error(setting, seen.end, really(setting).parameters)
        assert error < (1e-8 if seen.is_exact else 1e-5), seed
        exact += seen.is_exact
    assert exact >= 9


def _last_above(lengths: FloatArray, level: float) -> int:
    above = np.flatnonzero(lengths > level)
    return int(above[-1]) if len(above) else -1


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("rule", RULES)
def test_gaps_stay_small_from_the_foreseen_step_on(rule: str, batch: str) -> None:
    """Of a long real run: to the step where a gap only falls, else nearly so; nor any other that it comes down to."""
    problem = random_problem(4, rows=24, targets=2)
    solver = Descent(optimizer=RULES[rule], batch_size=BATCHES[batch], epochs=600, start=Normal(1.0))
    setting = setting_of(problem, solver)
    seen, steps = foreseen(setting), setting.plan.total_steps
    away = really(setting).trajectory.records["parameters"] - setting.optimum.scaled
    along = np.linalg.norm(np.einsum("mk,rmq->rkq", setting.spectrum.vectors, away), axis=2)
    whole = np.linalg.norm(away.reshape(len(away), -1), axis=1)
    told = [(whole, seen.steps_to), *zip(along.T, seen.steps_to_by_direction, strict=True)]
    compared = 0
    for lengths, counts in told:
        for fraction, count in zip(FRACTIONS, counts.tolist(), strict=True):
            last = _last_above(lengths, fraction * lengths[0])
            if fraction * lengths[0] < 1e-12:
                continue
            if np.isnan(count):
                assert last > steps - setting.plan.steps_per_epoch
            elif count > steps:
                assert last == steps
            else:
                assert count == last + 1 if rule == "plain" and batch == "all" else abs(count - last - 1) <= 2
                compared += 1
    assert compared >= 4


def test_steps_of_what_takes_a_million() -> None:
    setting = _case("tiny-scale", Descent(optimizer=Sgd(0.1)))
    seen = foreseen(setting)
    slope = setting.spectrum.names.index("x")
    assert seen.method == "eigen"
    assert seen.steps_to_by_direction[slope, 2] == seen.steps_to[2] == 1_376_832
    assert seen.largest_stable_learning_rate == pytest.approx(0.9999991667759524, rel=1e-14)
    there = foreseen(setting.with_solver(Descent(optimizer=Sgd(0.1), epochs=10**7, max_steps=1_376_832)))
    before = foreseen(setting.with_solver(Descent(optimizer=Sgd(0.1), epochs=10**7, max_steps=1_376_831)))
    level = 1e-3 * np.linalg.norm(setting.gap_at_start)
    assert np.linalg.norm(there.end - setting.optimum.scaled) <= level
    assert np.linalg.norm(before.end - setting.optimum.scaled) > level


def test_half_lives_of_collinear_columns() -> None:
    setting = _case("collinear", Descent(optimizer=Sgd(0.01)))
    rate = foreseen(setting).rates[setting.spectrum.names.index("x1 - x2")]
    assert np.log(2.0) / -np.log(rate) == pytest.approx(1376554.5278011097, rel=1e-9)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("rule", RULES)
def test_the_limit_is_where_a_long_run_ends(rule: str, batch: str) -> None:
    problem = random_problem(5, rows=24, targets=2)
    solver = Descent(optimizer=RULES[rule], batch_size=BATCHES[batch], epochs=20_000, start=Normal(1.0))
    setting = setting_of(problem, solver)
    seen = foreseen(setting)
    assert seen.limit is not None
    np.testing.assert_allclose(seen.limit, foreseen(setting).end, rtol=0, atol=1e-12)
    gap = np.linalg.norm(seen.limit - setting.optimum.scaled)
    assert gap > 1e-3 if rule in ("decay", "both") or batch != "all" else gap < 1e-13


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_what_the_loss_is_flat_along_is_never_forgotten(momentum: float, batch_size: int | None) -> None:
    """Three rows, six parameters; and a velocity that another descent's rows have left along all six."""
    problem, other = (random_problem(seed, rows=3, features=5) for seed in (6, 7))
    sgd = Sgd(0.01, momentum)
    solver = Descent(optimizer=sgd, batch_size=batch_size, epochs=10**7, start=Normal(1.0))
    settings = [setting_of(problem, solver)]
    ended = really(setting_of(other, replace(solver, epochs=3))).standing
    settings.append(setting_of(problem, replace(solver, start=Ended("other")), ended))
    for setting in settings:
        design = np.column_stack([np.ones(3), problem.x])
        flat = np.eye(6) - np.linalg.pinv(design) @ design
        start = setting.beginning.state
        velocity = start.slots[0] * momentum / (1.0 - momentum)
        expected = flat @ (start.parameters + velocity)
        seen = foreseen(setting)
        assert seen.limit is not None
        np.testing.assert_allclose(flat @ seen.limit, expected, atol=1e-11)
        np.testing.assert_allclose(seen.end, seen.limit, atol=1e-9)
        assert np.isnan(seen.steps_to[-1])
    assert not np.allclose(flat @ ended.course.slots[0], 0.0) or momentum == 0.0  # type: ignore[union-attr]


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("rule", RULES)
def test_a_rate_is_stable_up_to_the_largest_one(rule: str, batch_size: int | None) -> None:
    setting = setting_of(random_problem(8, rows=20), Descent(optimizer=RULES[rule], batch_size=batch_size))
    largest = foreseen(setting).largest_stable_learning_rate
    assert largest is not None
    for share, expected in ((0.5, True), (1.0 - 1e-4, True), (1.0 + 1e-4, False)):
        optimizer = replace(RULES[rule], learning_rate=share * largest)
        seen = foreseen(setting.with_solver(Descent(optimizer=optimizer, batch_size=batch_size)))
        assert seen.is_stable is expected
        assert (seen.limit is None) is not expected
        assert (seen.rates <= 1.0).all() == expected


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("rule", RULES)
def test_no_rate_shrinks_the_slowest_gap_quicker_than_the_best(rule: str, batch_size: int | None) -> None:
    setting = setting_of(random_problem(9, rows=20), Descent(optimizer=RULES[rule], batch_size=batch_size))
    seen = foreseen(setting)
    best, largest = seen.best_learning_rate, seen.largest_stable_learning_rate
    assert best is not None
    assert largest is not None

    def slowest(rate: float) -> float:
        optimizer = replace(RULES[rule], learning_rate=rate)
        return float(foreseen(setting.with_solver(Descent(optimizer=optimizer, batch_size=batch_size))).rates.max())

    others = [slowest(float(rate)) for rate in np.geomspace(largest / 50.0, 0.999 * largest, 40)]
    assert slowest(best) <= min(others) + 1e-3


def test_by_all_rows_the_rates_are_those_of_the_books() -> None:
    setting = setting_of(random_problem(10), Descent())
    largest, least = setting.spectrum.eigenvalues[[0, -1]]
    for sgd, stable in (
        (Sgd(), 2.0 / largest),
        (Sgd(momentum=0.9), 2.0 * 1.9 / largest),
        (Sgd(momentum=0.9, nesterov=True), 2.0 * 1.9 / (2.8 * largest)),
        (Sgd(weight_decay=0.5), 2.0 / (largest + 0.5)),
    ):
        seen = foreseen(setting.with_solver(Descent(optimizer=sgd)))
        assert seen.largest_stable_learning_rate == pytest.approx(stable, rel=1e-13)
    best = foreseen(setting).best_learning_rate
    assert best == pytest.approx(2.0 / (largest + least), rel=1e-13)
    # Polyak (1964): with the momentum that belongs to it, all gaps shrink by its root; with less, none does quicker.
    mu = ((largest**0.5 - least**0.5) / (largest**0.5 + least**0.5)) ** 2
    polyak = 4.0 / (largest**0.5 + least**0.5) ** 2
    seen = foreseen(setting.with_solver(Descent(optimizer=Sgd(momentum=float(mu)))))
    assert seen.best_learning_rate == pytest.approx(polyak, rel=1e-5)


@pytest.mark.parametrize("batch_size", [None, 5])
def test_what_diverges_ends_at_its_last_finite_step(batch_size: int | None) -> None:
    solver = Descent(optimizer=Sgd(3.0), batch_size=batch_size, epochs=10**6)
    setting = setting_of(random_problem(11, rows=20), solver)
    seen, real = foreseen(setting), really(setting)
    assert seen.is_stable is False
    assert np.isnan(seen.steps_to).all()
    assert abs(seen.steps - real.trajectory.total_steps) <= 5
    assert seen.steps < setting.plan.total_steps
    assert np.isfinite(seen.end).all()


@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "minmax")])
@pytest.mark.parametrize("batch_size", [None, 6])
def test_steps_until_a_gap_in_the_users_units(batch_size: int | None, scaling: Scaling) -> None:
    problem = random_problem(12, rows=24, targets=2, scaling=scaling)
    setting = setting_of(problem, Descent(optimizer=Sgd(0.05), batch_size=batch_size, epochs=500, start=Normal(1.0)))
    seen, gaps = foreseen(setting), really(setting).trajectory.original.gap
    floor = gaps[-4:].max()
    for level in (gaps[0] * 2.0, gaps[0] / 3.0, max(gaps[0] / 100.0, 1.5 * floor)):
        assert seen.steps_until(float(level)) == _last_above(gaps, float(level)) + 1
    assert seen.steps_until(0.0) is None


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_beyond_counting_are_met_within_an_epoch(momentum: float) -> None:
    """10^12 steps and one more differ by that step alone."""
    problem = random_problem(13, rows=24)
    sgd = Sgd(1e-3, momentum)
    ends = [
        foreseen(setting_of(problem, Descent(optimizer=sgd, batch_size=7, epochs=10**12, max_steps=steps))).end
        for steps in (10**12, 10**12 + 1)
    ]
    first = Values(tuple((float(w),) for w in ends[0][1:, 0]), (float(ends[0][0, 0]),))
    if momentum == 0.0:
        stepped = really(setting_of(problem, Descent(optimizer=sgd, batch_size=7, max_steps=1, start=first)))
        np.testing.assert_allclose(stepped.parameters, ends[1], rtol=1e-13)
    assert np.abs(ends[1] - ends[0]).max() > 1e-7


def test_two_roots_that_are_one() -> None:
    """l r = 1 / 4 with a momentum of 1 / 4 is critical: the map has but one eigenvector."""
    dataset = Dataset.from_arrays(np.array([[1.0], [1.0], [5.0]]), np.array([1.0, 2.0, 3.0]))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=False))
    for batch_size, rate in ((2, 0.125), (None, 0.125 / 9.0)):
        solver = Descent(optimizer=Sgd(rate, 0.25), batch_size=batch_size, drop_last=True, epochs=30)
        setting = setting_of(problem, solver)
        seen, real = foreseen(setting), really(setting)
        np.testing.assert_allclose(seen.end, real.parameters, rtol=1e-12)
        np.testing.assert_allclose(seen.rates, 0.5, rtol=1e-7)
        if batch_size is None:
            gaps = np.abs(real.trajectory.records["parameters"][:, 0, 0] - setting.optimum.scaled[0, 0])
            expected = [_last_above(gaps, fraction * gaps[0]) + 1 for fraction in FRACTIONS[:5]]
            assert seen.steps_to[:5].tolist() == expected


def test_a_batch_that_is_never_met_teaches_nothing() -> None:
    """Four of five rows, five parameters: what only the fifth would tell stays as it began."""
    setting = setting_of(
        random_problem(14, rows=5, features=4),
        Descent(optimizer=Sgd(0.1), batch_size=2, drop_last=True, epochs=10**9, start=Normal(1.0)),
    )
    seen = foreseen(setting)
    design = np.column_stack([np.ones(5), setting.problem.x])[:4]
    unmet = np.eye(5) - np.linalg.pinv(design) @ design
    np.testing.assert_allclose(unmet @ seen.end, unmet @ setting.beginning.state.parameters, atol=1e-11)
    assert seen.limit is not None
    np.testing.assert_allclose(seen.limit, seen.end, atol=1e-6)


@pytest.mark.parametrize("size", [1e-200, 1e160, 1e200])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_numbers_that_leave_float64_are_an_answer(batch_size: int | None, size: float) -> None:
    stream = np.random.default_rng(15)
    dataset = Dataset.from_arrays(size * stream.normal(size=(20, 2)), stream.normal(size=20))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    seen = foreseen(setting_of(problem, Descent(optimizer=Sgd(0.1, 0.5), batch_size=batch_size, epochs=10)))
    assert seen.steps_to.shape == (9,)
    assert seen.largest_stable_learning_rate is None or seen.largest_stable_learning_rate >= 0.0
    assert seen.steps_to_by_direction.shape == (len(seen.rates), 9)
    assert (seen.steps == 10 * (1 if batch_size is None else 4)) == (size < 1.0)
