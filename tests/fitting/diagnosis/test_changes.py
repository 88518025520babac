"""Changed settings: one thing each, in numbers of few digits."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fitting.descent.optimizers import Adam, Adamw, Optimizer, Rmsprop, Sgd, Usual
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis import changes
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.outlook import outlook
from service.fitting.exact import references
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Stop
from tests.fitting.descent.problems import random_problem


def _setting(solver: Descent | None = None, problem: Problem | None = None) -> Setting:
    problem, solver = problem or random_problem(1, rows=40), solver or Descent()
    return Setting.of(problem, solver, references(problem, solver.penalty))


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_numbers_are_rounded_down_to_two_digits(value: float) -> None:
    rounded = changes.rounded_down(value)
    assert rounded == float(f"{rounded:.1e}")
    assert 0.9 * value < rounded <= value


@given(st.integers(min_value=1, max_value=10**15))
def test_counts_are_rounded_up_to_two_digits(value: int) -> None:
    rounded = changes.rounded_up(value)
    assert rounded == int(float(f"{rounded:.1e}"))
    assert value <= rounded < 1.1 * value + 1


def test_what_has_few_digits_stays() -> None:
    assert changes.rounded_down(0.29) == 0.29
    assert changes.rounded_up(3_700_000) == 3_700_000


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("optimizer", [Sgd(5.0), Sgd(1e-6), Sgd(0.01, 0.5), Sgd(0.01, 0.9, nesterov=True)])
def test_the_best_rate_is_stable(optimizer: Optimizer, batch_size: int | None) -> None:
    setting = _setting(Descent(optimizer=optimizer, batch_size=batch_size))
    changed = changes.at_best_rate(setting, outlook(setting, simulate))
    assert changed is not None
    assert replace(changed.solver, optimizer=optimizer) == setting.solver
    seen = outlook(changed, simulate)
    rate = changed.solver.optimizer.learning_rate
    assert seen.is_stable
    assert isinstance(rate, float)
    assert seen.largest_stable_learning_rate is not None
    assert rate <= 0.99 * seen.largest_stable_learning_rate


def test_where_nothing_tells_the_best_rate_it_is_that_of_sgd() -> None:
    changed = changes.at_best_rate(_setting(Descent(optimizer=Adam())), None)
    assert changed is not None
    eigenvalues = changed.spectrum.eigenvalues
    rate = changed.solver.optimizer.learning_rate
    assert changed.solver.optimizer == Sgd(rate)
    assert rate == changes.rounded_down(min(2.0 / (eigenvalues.min() + eigenvalues.max()), 1.98 / eigenvalues.max()))


@pytest.mark.parametrize("columns_apart", [0.5, 1e-1, 1e-2, 1e-3])
def test_momentum_shrinks_all_gaps_alike(columns_apart: float) -> None:
    """By the root of the momentum a step, which is the heavy ball's best up to the rounding of both numbers."""
    problem = random_problem(2, rows=40, features=2)
    values = problem.dataset.values.copy()
    values[:, 1] = values[:, 0] + columns_apart * values[:, 1]
    setting = _setting(Descent(batch_size=7), replace(problem, dataset=replace(problem.dataset, values=values)))
    changed = changes.with_momentum(setting)
    assert changed is not None
    sgd = changed.solver.optimizer
    assert isinstance(sgd, Sgd)
    assert changed.plan.steps_per_epoch == 1
    np.testing.assert_allclose(outlook(changed, simulate).rates, np.sqrt(sgd.momentum), rtol=1e-7)
    root = np.sqrt(setting.spectrum.eigenvalues.max() / setting.spectrum.eigenvalues.min())
    best = (root - 1.0) / (root + 1.0)
    assert 1.0 - sgd.momentum == pytest.approx(1.0 - best**2, rel=0.15)
    assert sgd.momentum >= best**2 * (1.0 - 1e-12)


def test_momentum_is_no_gain_where_all_gaps_shrink_alike() -> None:
    dataset = random_problem(1, rows=40, features=1).dataset
    setting = _setting(problem=Problem(dataset, random_problem(1, features=1, intercept=False).model))
    assert changes.with_momentum(setting) is None


def test_units_are_changed_where_that_is_a_gain() -> None:
    plain = _setting()
    assert changes.standardised(plain) is None
    values = plain.problem.dataset.values * [1e-3, 1.0, 1.0, 1.0]
    small = _setting(problem=replace(plain.problem, dataset=replace(plain.problem.dataset, values=values)))
    changed = changes.standardised(small)
    assert changed is not None
    assert changed.problem.scaling == Scaling("standard")
    assert changes.standardised(changed) is None
    both = changes.standardised(changed, targets=True)
    assert both is not None
    assert both.problem.scaling == Scaling("standard", "standard")


@pytest.mark.parametrize("optimizer", [Sgd(0.1, 0.5), Rmsprop(0.1, rho=0.8), Adamw(0.1, beta_1=0.8)])
def test_an_optimizer_undisturbed_is_its_own_rule(optimizer: Optimizer) -> None:
    disturbed = replace(optimizer, weight_decay=0.1, clipnorm=1.0, use_ema=True, ema_overwrite_frequency=3)
    changed = changes.undisturbed(_setting(Descent(optimizer=disturbed))).solver.optimizer
    for option in fields(Usual):
        assert getattr(changed, option.name) == option.default
    assert changed.kind == optimizer.kind.replace("adamw", "adam")
    own = {option.name for option in fields(changed)} - {option.name for option in fields(Usual)} - {"kind"}
    assert {name: getattr(changed, name) for name in own} == {name: getattr(optimizer, name) for name in own}
    assert changes.undisturbed(plain := _setting(Descent(optimizer=Sgd()))) is plain


def test_only_rules_that_stop_it_too_early_are_left_out() -> None:
    stop = Stop(gradient_tolerance=1e-3, loss_tolerance=1e-3, gap_tolerance=1e-9, max_seconds=1.0)
    setting = _setting(Descent(stop=stop))
    assert changes.unstopped(setting, 1e-8, timed=True).solver.stop == Stop(gap_tolerance=1e-9, max_seconds=1.0)
    assert changes.unstopped(setting, 1e-10, timed=False).solver.stop == Stop()
    late = _setting(Descent(stop=Stop(gap_tolerance=1e-9, max_seconds=1.0)))
    assert changes.unstopped(late, 1e-8, timed=True) is late


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (40, 7), (1201, 210)])
def test_steps_become_epochs(steps: int, epochs: int) -> None:
    solver = Descent(batch_size=7, max_steps=3, epochs=9)
    changed = changes.longer(_setting(solver), steps)
    assert changed.solver == replace(solver, epochs=epochs, max_steps=None)
