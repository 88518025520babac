"""Descents without a closed form, forecast by taking their steps, against the real ones."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.numpy_engine import NumpyRowsEngine
from service.fitting.descent.optimizers import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adamw,
    Ftrl,
    Lion,
    Nadam,
    Optimizer,
    Rmsprop,
    Sgd,
)
from service.fitting.descent.schedules import CosineDecay, ExponentialDecay
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import Ended
from service.fitting.diagnosis import simulated
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.courses import simulation_of
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.simulated import probe, simulated_outlook
from service.fitting.diagnosis.simulation import Simulated, Simulation, TooLong
from service.fitting.exact import references
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.reference.compiled import COMPILED
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from tests.fitting.descent.problems import Solved, random_problem, solve

OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Adam(0.01),
    "amsgrad": Adam(0.01, amsgrad=True),
    "adamw": Adamw(0.01),
    "adamax": Adamax(0.1),
    "nadam": Nadam(0.01),
    "rmsprop": Rmsprop(0.01),
    "rmsprop, centred": Rmsprop(0.01, momentum=0.5, centered=True),
    "adagrad": Adagrad(0.1),
    "adadelta": Adadelta(1.0),
    "lion": Lion(0.003),
    "ftrl": Ftrl(0.1),
    "exponential decay": Sgd(ExponentialDecay(0.1, 10, 0.9)),
    "cosine decay": Sgd(CosineDecay(0.1, 100), momentum=0.9),
    "clipping": Sgd(0.1, clipnorm=0.3),
    "running means": Sgd(0.1, use_ema=True, ema_overwrite_frequency=10),
}
PLANS = {"all rows": None, "a fixed order": 7}


@pytest.fixture(autouse=True)
def _as_callers_do() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def setting_of(problem: Problem, descent: Descent) -> Setting:
    return Setting.of(problem, descent, references(problem, descent.penalty, COMPILED), None, COMPILED)


def estimate(solved: Solved) -> FloatArray:
    """(m, q) in descent's units."""
    standing = solved.standing
    assert standing is not None
    assert standing.course is not None
    means = solved.report.coefficients[0].scaled_estimate == standing.course.average[0, 0]
    return (standing.course.average if means else standing.parameters).astype(np.float64)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_end_in_a_fixed_order_is_where_the_descent_ends(name: str, plan: str) -> None:
    problem = random_problem(1, 45, 3)
    descent = Descent(optimizer=OPTIMIZERS[name], batch_size=PLANS[plan], epochs=60)
    setting = setting_of(problem, descent)
    foreseen, real = simulated_outlook(setting, simulate), estimate(solve(problem, descent))
    assert foreseen.is_exact
    assert foreseen.steps == setting.plan.total_steps
    np.testing.assert_allclose(foreseen.end, real, rtol=0.0, atol=1e-9)
    assert not foreseen.end_sd.any()


@pytest.mark.parametrize(
    ("problem", "descent"),
    [
        (random_problem(1, 45, 3, 2, weighted=True), Descent(optimizer=Adam(0.01), batch_size=7)),
        (random_problem(1, 45, 3, scaling=Scaling("minmax", "robust")), Descent(optimizer=Adam(0.01))),
        (random_problem(1, 45, 3, intercept=False), Descent(optimizer=Adam(0.01), batch_size=7, drop_last=True)),
        (random_problem(1, 45, 3, loss="sum_squares"), Descent(optimizer=Adam(0.01), penalty=L2(1.0), batch_size=7)),
        (random_problem(1, 45, 2), Descent(optimizer=Adam(0.01), batch_size=7, max_steps=11)),
    ],
    ids=["weights and targets", "scaling", "a dropped last batch", "penalty and sum of squares", "within an epoch"],
)
def test_every_problem_is_simulated_as_it_is(problem: Problem, descent: Descent) -> None:
    foreseen = simulated_outlook(setting_of(problem, descent), simulate)
    assert foreseen.is_exact
    np.testing.assert_allclose(foreseen.end, estimate(solve(problem, descent)), rtol=0.0, atol=1e-9)


def test_a_descent_that_goes_on_is_forecast_from_where_it_is() -> None:
    problem, descent = random_problem(1, 45, 3), Descent(optimizer=Adam(0.01), batch_size=7, epochs=9, max_steps=60)
    ended, going_on = solve(problem, descent).standing, replace(descent, start=Ended("first"))
    setting = setting_of(problem, descent).with_solver(going_on, ended)
    foreseen = simulated_outlook(setting, simulate)
    real = solve(problem, going_on, ended=ended)
    assert foreseen.is_exact
    np.testing.assert_allclose(foreseen.end, estimate(real), rtol=0.0, atol=1e-9)


def test_float32_is_not_said_to_be_exact() -> None:
    problem, descent = random_problem(1, 45, 3), Descent(optimizer=Adam(0.01), batch_size=7, dtype="float32")
    foreseen = simulated_outlook(setting_of(problem, descent), simulate)
    assert not foreseen.is_exact
    np.testing.assert_allclose(foreseen.end, estimate(solve(problem, descent)), rtol=0.0, atol=1e-4)


def test_what_leads_apart_what_was_close_is_not_said_to_be_exact() -> None:
    # The mean square forgets at once, and what is divided by its root is next to nothing.
    setting = setting_of(random_problem(1, 45, 3), Descent(optimizer=Rmsprop(0.5, rho=0.1, momentum=0.97), epochs=5000))
    assert not simulated_outlook(setting, simulate).is_exact


def test_what_blows_up_rounding_is_not_said_to_be_exact() -> None:
    # Standardised, the intercept starts where it ends but for rounding, and Adam makes steps of its rate of that.
    problem = random_problem(1, 45, 3, scaling=Scaling("standard", "standard"))
    foreseen = simulated_outlook(setting_of(problem, Descent(optimizer=Adam(0.01))), simulate)
    assert not foreseen.is_exact


def test_data_of_which_products_do_not_say_all_are_not_exact() -> None:
    stream = np.random.default_rng(0)
    x = stream.normal(size=(50, 1))
    dataset = Dataset.from_arrays(np.column_stack([x, x + 1e-7 * stream.normal(size=(50, 1))]), x[:, 0])
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    assert not simulated_outlook(setting_of(problem, Descent(optimizer=Adam())), simulate).is_exact


@pytest.mark.parametrize("optimizer", [Adam(0.02), Rmsprop(0.01), Sgd(0.1, clipnorm=0.3), Lion(0.003)])
def test_shuffled_runs_are_about_the_mean_as_far_as_is_said(optimizer: Optimizer) -> None:
    problem = random_problem(3, 60, 2)
    descent = Descent(optimizer=optimizer, batch_size=7, epochs=40, shuffle=True)
    setting = setting_of(problem, descent)
    foreseen = simulated_outlook(setting, simulate)
    ends = []
    for seed in range(100):
        beginning = setting.with_solver(replace(descent, seed=1000 + seed)).beginning
        orders, last = beginning.row_orders(), setting.plan.total_steps
        engine = NumpyRowsEngine(setting.arena)
        ends.append(engine.advance(beginning.state, last, orders.for_steps(0, last), np.array([last])).state.parameters)
    states = problem.units.to_user(np.array(ends))
    assert not foreseen.is_exact
    # Sixteen courses know their own deviation to a fifth or so.
    ratios = states.std(axis=0) / foreseen.end_sd
    assert ratios.min() > 0.5
    assert ratios.max() < 2.0
    off = np.abs(states.mean(axis=0) - problem.units.to_user(foreseen.end))
    assert (off <= 4.0 * foreseen.end_sd / np.sqrt(simulated._MOST_COURSES)).all()


def foreseen_by(optimizer: Optimizer, epochs: int = 60, batch_size: int | None = None) -> Outlook:
    return simulated_outlook(
        setting_of(random_problem(1, 45, 3), Descent(optimizer=optimizer, batch_size=batch_size, epochs=epochs)),
        simulate,
    )


def test_where_it_leads_is_known_once_it_has_settled() -> None:
    setting = setting_of(random_problem(1, 45, 3), Descent(optimizer=Adagrad(0.5), epochs=60))
    foreseen = simulated_outlook(setting, simulate)
    assert foreseen.limit is not None
    assert foreseen.is_stable
    np.testing.assert_allclose(foreseen.limit, setting.optimum.scaled, atol=1e-9)
    assert np.isfinite(foreseen.steps_to).all()
    assert np.isfinite(foreseen.steps_to_by_direction).all()


@pytest.mark.parametrize("optimizer", [Adam(1e-8), Lion(0.003), Sgd(CosineDecay(1e-9, 10**9))])
def test_where_it_leads_is_not_known_before_that(optimizer: Optimizer) -> None:
    foreseen = foreseen_by(optimizer)
    assert foreseen.limit is None
    assert foreseen.is_stable is None


def test_gaps_arrive_when_they_do() -> None:
    problem, descent = random_problem(1, 45, 3), Descent(optimizer=Adam(0.05), epochs=400)
    setting = setting_of(problem, descent)
    foreseen = simulated_outlook(setting, simulate)
    every = simulate(simulation_of(setting, setting.beginning.state, 1, np.arange(1, 401))).parameters[0]
    gaps = np.linalg.norm(every - setting.optimum.scaled, axis=(1, 2))
    start = float(np.linalg.norm(setting.gap_at_start))
    last_above = 1 + int(np.flatnonzero(gaps > 0.1 * start)[-1])
    assert last_above < foreseen.steps_to[0] <= 1.05 * last_above + 2
    assert foreseen.steps_until(0.1 * start) == foreseen.steps_to[0]
    assert foreseen.steps_until(0.0) is None


@pytest.mark.parametrize("batch_size", [None, 7])
def test_what_diverges_is_followed_to_its_last_finite_step(batch_size: int | None) -> None:
    problem = random_problem(1, 45, 3)
    descent = Descent(optimizer=Sgd(ExponentialDecay(30.0, 10**6, 0.9)), batch_size=batch_size, epochs=1000)
    foreseen, real = simulated_outlook(setting_of(problem, descent), simulate), solve(problem, descent)
    assert foreseen.is_stable is False
    assert foreseen.limit is None
    assert foreseen.steps == pytest.approx(real.report.outcome.steps, abs=1)
    assert np.isfinite(foreseen.end).all()


def test_no_more_steps_are_taken_than_there_is_work_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "MOST_SECONDS", 1e-4)
    foreseen = foreseen_by(Adam(0.01), epochs=10**6)
    assert 10 < foreseen.steps < 1000
    assert not foreseen.is_exact
    assert foreseen.beyond is None


def test_nobody_to_take_the_steps_is_too_long() -> None:
    def nobody(_: Simulation) -> Simulated:
        raise TooLong

    setting = setting_of(random_problem(1), Descent(optimizer=Adam()))
    with pytest.raises(TooLong):
        simulated_outlook(setting, nobody)
    with pytest.raises(TooLong):
        probe(setting, setting.beginning.state, nobody)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_probe_tells_walking_from_going_to_and_fro(shuffle: bool) -> None:
    problem = random_problem(1, 45, 3)
    descent = Descent(optimizer=Lion(0.003), batch_size=7, shuffle=shuffle, epochs=1)
    setting = setting_of(problem, descent)
    walking = probe(setting, setting.beginning.state, simulate)
    # It makes a step of the rate along each of four parameters.
    assert walking.step_length == pytest.approx(0.006, rel=0.05)
    assert walking.net_progress > 0.2 * walking.step_length * walking.steps / 2
    assert walking.gap_after < walking.gap_before == pytest.approx(np.linalg.norm(setting.gap_at_start))
    arrived = replace(setting.beginning.state, parameters=setting.optimum.scaled.copy())
    swaying = probe(setting, arrived, simulate)
    assert swaying.gap_before == 0.0
    assert swaying.step_length == pytest.approx(0.006, rel=0.05)
    assert swaying.net_progress < 0.02 * swaying.step_length * swaying.steps / 2


def test_the_outlook_probes_from_its_end_on() -> None:
    problem, descent = random_problem(1, 45, 3), Descent(optimizer=Adam(0.01), batch_size=7, epochs=60)
    setting = setting_of(problem, descent)
    foreseen = simulated_outlook(setting, simulate)
    standing = solve(problem, descent).standing
    assert standing is not None
    assert standing.course is not None
    state = replace(setting.beginning.state, step=420, parameters=standing.parameters, slots=standing.course.slots)
    measured = probe(setting, state, simulate)
    assert foreseen.beyond is not None
    assert foreseen.beyond.steps == measured.steps
    for name in ("step_length", "net_progress", "gap_before", "gap_after"):
        assert getattr(foreseen.beyond, name) == pytest.approx(getattr(measured, name), rel=1e-6)
