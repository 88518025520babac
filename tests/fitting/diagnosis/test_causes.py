"""Causes and their arithmetic: every number is what a run of its own comes to, and every share what that run leaves."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.datasets.cases import case
from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam, Adamw, Ftrl, Lion, Optimizer, Rmsprop, Sgd
from service.fitting.descent.schedules import ExponentialDecay
from service.fitting.descent.start import GlorotUniform, Values
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.diagnose import diagnose
from service.fitting.diagnosis.end import End, Means
from service.fitting.diagnosis.registry import AGREEMENT, CAUSES, LEAST_SHARE, RANK
from service.fitting.diagnosis.simulation import Simulated, Simulation, TooLong
from service.fitting.model import resolve_model
from service.fitting.penalty import Penalty
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Stop
from tests.fitting.descent.problems import random_problem
from tests.fitting.diagnosis.diagnosed import ENDS, diagnosed, of_case, ran
from tests.fitting.diagnosis.messages import diagnosed_ends

SHRUNK = Ftrl(1.0, l2_shrinkage_regularization_strength=0.1)
PLAIN = Descent(optimizer=Sgd(0.1), epochs=100)


def _computed(name: str) -> dict[str, Any]:
    found = case(name)
    assert found is not None
    return found.computed


def _problem(x: FloatArray, y: FloatArray, *names: str, intercept: bool = True) -> Problem:
    dataset = Dataset((*names, "y"), np.column_stack([x, y]))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept))


def _number(cause: Cause, name: str) -> float:
    value = cause.numbers[name]
    assert value is not None
    return value


# The five questions.


def test_tiny_scale_is_a_matter_of_scaling_or_of_a_million_steps() -> None:
    problem, computed = of_case("tiny-scale"), _computed("tiny-scale")
    found = diagnosed(problem, PLAIN)
    assert list(found.causes)[:2] == ["features_unscaled", "too_few_steps"]
    unscaled, few = found.causes["features_unscaled"], found.causes["too_few_steps"]
    assert unscaled.terms == ("x",)
    least, largest = computed["hessian_eigenvalues"]
    assert unscaled.numbers["condition_number"] == pytest.approx(largest / least, rel=1e-9)
    assert few.numbers["steps_needed"] == np.ceil(computed["steps_until_slowest_component_shrinks_to_1e_3"])
    assert few.numbers["half_life_steps"] == pytest.approx(np.log(2) / -np.log1p(-0.1 * least), rel=1e-9)
    needed = diagnosed(problem, replace(PLAIN, epochs=int(_number(few, "steps_needed"))))
    assert needed.gap == pytest.approx(1e-3 * computed["reference"]["slope"], rel=1e-5)
    agreeing = diagnosed(problem, replace(PLAIN, epochs=int(_number(few, "steps_to_agree"))))
    assert next(iter(agreeing.causes)) == "agrees"
    assert "agrees" not in diagnosed(problem, replace(PLAIN, epochs=int(0.9 * _number(few, "steps_to_agree")))).causes


def test_collinear_keeps_the_difference_of_its_start() -> None:
    problem, computed = of_case("collinear"), _computed("collinear")
    solver = Descent(optimizer=Sgd(0.01), epochs=1000, start=GlorotUniform(), seed=1)
    found = diagnosed(problem, solver)
    kept, columns = found.causes["start_remembered"], found.causes["collinear_features"]
    start = found.setting.beginning.state.parameters[:, 0]
    assert kept.terms == columns.terms == ("x1", "x2")
    assert kept.numbers["gap_at_start"] == pytest.approx(abs(start[1] - start[2]) * 0.5**0.5, rel=1e-9)
    assert kept.numbers["left"] == pytest.approx((1.0 - 0.01 * min(computed["hessian_eigenvalues"])) ** 1000, rel=1e-9)
    half_life = computed["half_life_of_slow_direction_steps_at_0_01"]
    assert kept.numbers["half_life_steps"] == pytest.approx(half_life, rel=1e-6)
    assert columns.numbers["half_life_steps"] == pytest.approx(half_life, rel=1e-6)
    assert columns.numbers["condition_index"] == pytest.approx(computed["condition_number_of_design"], rel=1e-6)
    assert kept.share == columns.share == 1.0


def test_collinear_from_zero_is_luck() -> None:
    found = diagnosed(of_case("collinear"), Descent(optimizer=Sgd(0.01), epochs=1000))
    assert list(found.causes) == ["agrees", "start_remembered"]
    lucky = found.causes["start_remembered"]
    assert lucky.share == 0.0
    assert lucky.numbers["left"] is None
    assert lucky.message.startswith("The start had no gap along x1 - x2, which halves only every 1.38 million steps")


def test_collinear_by_batches_carries_a_gap_that_all_rows_would_not() -> None:
    problem, solver = of_case("collinear"), Descent(optimizer=Sgd(0.01), epochs=1000, batch_size=10_000)
    found = diagnosed(problem, solver)
    carried = found.causes["gap_carried_by_batches"]
    assert carried.share == 1.0
    assert carried.terms == ("x1", "x2")
    by_all_rows = ran(problem, replace(solver, batch_size=None, epochs=10_000))
    assert by_all_rows.gap <= 1e-9
    assert carried.numbers["gap_by_all_rows"] == pytest.approx(by_all_rows.gap, abs=1e-9)


def test_single_sample_determines_one_direction_of_four() -> None:
    computed = _computed("single-sample")
    start = Values(tuple(map(tuple, np.transpose(computed["W0"]).tolist())), tuple(computed["b0"]))
    problem = of_case("single-sample", loss="sum_squares")
    found = diagnosed(problem, Descent(optimizer=Sgd(0.001), epochs=10**7, start=start))
    unknown, kept = found.causes["not_identified"], found.causes["start_remembered"]
    assert list(found.causes)[:2] == ["not_identified", "start_remembered"]
    assert (unknown.numbers["rank"], unknown.numbers["parameters"], unknown.numbers["rows"]) == (1.0, 4.0, 1.0)
    # The whole gap is what the limit of the descent keeps of its start.
    limit = np.vstack([computed["limit_of_descent_from_this_start"][name] for name in ("b",)])
    limit = np.vstack([limit, np.transpose(computed["limit_of_descent_from_this_start"]["W"])])
    expected = float(np.linalg.norm(limit - found.setting.optimum.parameters))
    assert unknown.numbers["gap"] == pytest.approx(expected, rel=1e-12)
    assert kept.numbers["gap_at_end"] == pytest.approx(expected, rel=1e-12)
    assert kept.numbers["left"] == pytest.approx(1.0, rel=1e-12)
    assert "3 more independent rows would determine them all" in unknown.message


@pytest.mark.parametrize(("batch_size", "batch", "loss"), [(None, 402.985, 352.3350379264957), (3, 565.5593, 232.1553)])
def test_every_iteration_prints_the_loss_from_before(batch_size: int | None, batch: float, loss: float) -> None:
    solver = Descent(optimizer=Rmsprop(0.05), epochs=1, start=Values(((0.5,),), (0.0,)), batch_size=batch_size)
    said = diagnosed(of_case("every-iteration"), solver).causes["loss_is_before_update"]
    assert said.numbers["batch_loss"] == pytest.approx(batch, rel=1e-6)
    assert said.numbers["loss"] == pytest.approx(loss, rel=1e-6)
    assert said.share == 0.0


# Each share is what another run leaves.


def _without_decay(solver: Descent) -> Descent:
    return replace(solver, optimizer=replace(solver.optimizer, weight_decay=None))


def _with_rate(rate: float) -> Callable[[Descent], Descent]:
    return lambda solver: replace(solver, optimizer=replace(solver.optimizer, learning_rate=rate))


@pytest.mark.parametrize(
    ("code", "optimizer", "without"),
    [
        ("weight_decay", Sgd(0.1, weight_decay=0.01), _without_decay),
        ("weight_decay", Adamw(0.05, weight_decay=0.3), _without_decay),
        ("gradient_clipping", Sgd(0.1, clipnorm=0.01), lambda s: replace(s, optimizer=Sgd(0.1))),
        ("gradient_clipping", Sgd(0.1, global_clipnorm=0.01), lambda s: replace(s, optimizer=Sgd(0.1))),
        ("running_mean", Sgd(0.1, use_ema=True), lambda s: replace(s, optimizer=Sgd(0.1))),
        ("learning_rate_schedule", Sgd(ExponentialDecay(0.1, 5, 0.5)), _with_rate(0.1)),
        ("optimizer_penalty", SHRUNK, lambda s: replace(s, optimizer=Ftrl(1.0))),
    ],
)  # fmt: skip
def test_an_option_costs_what_is_left_without_it(
    code: str, optimizer: Optimizer, without: Callable[[Descent], Descent]
) -> None:
    problem, solver = random_problem(3), replace(PLAIN, optimizer=optimizer)
    found = diagnosed(problem, solver)
    left = ran(problem, without(solver)).gap
    assert found.causes[code].numbers["gap_without"] == pytest.approx(left, rel=1e-6, abs=1e-12)
    assert found.causes[code].share == pytest.approx(1.0 - left / found.gap, abs=0.006)


@pytest.mark.parametrize("optimizer", [Sgd(0.003), Sgd(0.45), Sgd(0.001, momentum=0.5), Adam(0.0001)])
def test_the_best_rate_is_better_by_its_share(optimizer: Optimizer) -> None:
    problem, solver = random_problem(3), replace(PLAIN, optimizer=optimizer, epochs=25)
    found = diagnosed(problem, solver)
    [code] = {"learning_rate_too_small", "learning_rate_too_large"} & set(found.causes)
    rate = _number(found.causes[code], "best_learning_rate")
    assert (rate > float(optimizer.learning_rate)) == (code == "learning_rate_too_small")  # type: ignore[arg-type]
    left = ran(problem, _with_rate(rate)(solver)).gap
    assert found.causes[code].numbers["gap_with_best"] == pytest.approx(left, rel=1e-6, abs=1e-12)
    assert found.causes[code].share == pytest.approx(1.0 - left / found.gap, abs=0.006)


@pytest.mark.parametrize("size", [0.01, 100.0])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("optimizer", [Sgd(0.00001), Sgd(0.1), Adam(0.01)])
def test_scaled_features_come_nearer_by_their_share(size: float, intercept: bool, optimizer: Optimizer) -> None:
    stream = np.random.default_rng(4)
    x = stream.normal(size=(40, 2)) * [1.0, size]
    problem = _problem(x, x @ [1.0, 1.0 / size] + 0.5 * intercept, "a", "b", intercept=intercept)
    found = diagnosed(problem, replace(PLAIN, optimizer=optimizer, epochs=300))
    if "features_unscaled" not in found.causes:
        assert found.gap <= 0.1 * np.linalg.norm(found.setting.optimum.parameters)
        return
    said = found.causes["features_unscaled"]
    rate = _number(said, "learning_rate_scaled")
    scaled = replace(problem, scaling=Scaling("standard" if intercept else "maxabs"))
    left = ran(scaled, _with_rate(rate)(replace(PLAIN, optimizer=optimizer, epochs=300)))
    assert said.numbers["gap_scaled"] == pytest.approx(left.gap, rel=1e-6, abs=1e-12)
    assert said.numbers["condition_number_scaled"] == pytest.approx(_condition(left.setting.optimum.triangle), rel=1e-6)
    assert _number(said, "condition_number") >= 10.0 * _number(said, "condition_number_scaled")
    if rate == optimizer.learning_rate:
        assert said.share == pytest.approx(1.0 - left.gap / found.gap, abs=0.006)
        return
    best = found.end.outlook.best_learning_rate
    assert best is not None
    unscaled = ran(problem, _with_rate(best)(replace(PLAIN, optimizer=optimizer, epochs=300)))
    assert said.share == pytest.approx((unscaled.gap - left.gap) / found.gap, abs=0.006)


def _condition(triangle: FloatArray) -> float:
    return float(np.linalg.cond(triangle)) ** 2


def test_columns_that_need_no_scaling_are_not_blamed() -> None:
    found = diagnosed(random_problem(3), replace(PLAIN, epochs=5))
    assert "too_few_steps" in found.causes
    assert "features_unscaled" not in found.causes


def test_the_bias_of_a_fixed_order_is_where_it_ends() -> None:
    problem = random_problem(3)
    solver = replace(PLAIN, batch_size=5, epochs=40)
    found = diagnosed(problem, solver)
    for_ever = ran(problem, replace(solver, epochs=100_000))
    said = found.causes["fixed_batch_order_bias"]
    assert said.numbers["bias"] == pytest.approx(for_ever.gap, rel=1e-9)
    assert "gap_carried_by_batches" not in found.causes
    assert "too_few_steps" not in found.causes


def test_decay_is_not_put_down_to_the_order_of_batches() -> None:
    problem = random_problem(3)
    decayed = diagnosed(problem, Descent(optimizer=Sgd(0.1, weight_decay=0.05), batch_size=5, epochs=100))
    plain = diagnosed(problem, Descent(optimizer=Sgd(0.1), batch_size=5, epochs=100))
    biases = [found.causes["fixed_batch_order_bias"].numbers["bias"] for found in (decayed, plain)]
    assert biases[0] == pytest.approx(biases[1], rel=0.2)
    assert "weight_decay" in decayed.causes


def test_the_noise_of_shuffling_is_how_far_ends_differ() -> None:
    problem = random_problem(3)
    solver = Descent(optimizer=Sgd(0.1), batch_size=5, epochs=200, shuffle=True)
    ends = np.array([ran(problem, replace(solver, seed=seed)).end.estimate for seed in range(60)])
    said = diagnosed(problem, solver).causes["minibatch_noise_floor"]
    assert _number(said, "sd") == pytest.approx(float(np.linalg.norm(ends.std(axis=0))), rel=0.25)
    gaps = ends - ran(problem, solver).setting.optimum.parameters
    mean, expected = np.linalg.norm(gaps.mean(axis=0)), np.sqrt(np.square(gaps).sum(axis=(1, 2)).mean())
    assert said.share == pytest.approx(1.0 - mean / expected, abs=0.15)


@pytest.mark.parametrize("optimizer", [Rmsprop(0.05), Lion(0.02)])
def test_steps_that_do_not_shrink_go_round_until_they_are_made_smaller(optimizer: Optimizer) -> None:
    problem, solver = random_problem(3), Descent(optimizer=optimizer, epochs=2000)
    found = diagnosed(problem, solver)
    said = found.causes["adaptive_step_floor"]
    assert "too_few_steps" not in found.causes
    assert ran(problem, replace(solver, epochs=20_000)).gap > 0.5 * found.gap
    weights = found.end.estimate[:, 0].tolist()
    here = Values(tuple((weight,) for weight in weights[1:]), (weights[0],))
    slower = ran(problem, replace(_with_rate(0.1 * float(optimizer.learning_rate))(solver), start=here))  # type: ignore[arg-type]
    assert said.numbers["gap_with_tenth"] == pytest.approx(slower.gap, rel=1e-3)
    assert said.share == pytest.approx(1.0 - slower.gap / found.gap, abs=0.006)


@pytest.mark.parametrize("optimizer", [Adam(0.01), Sgd(ExponentialDecay(0.01, 50, 0.9))])
def test_what_is_on_its_way_comes_nearer_with_more_steps(optimizer: Optimizer) -> None:
    problem, solver = random_problem(3), Descent(optimizer=optimizer, epochs=50)
    found = diagnosed(problem, solver)
    said, longer = found.causes["too_few_steps"], ran(problem, replace(solver, epochs=500))
    assert longer.gap < found.gap
    assert said.share == pytest.approx(1.0 - _number(said, "gap_with_more") / found.gap, abs=0.006)


@pytest.mark.parametrize("stop", [Stop(loss_tolerance=1e-3), Stop(gap_tolerance=0.05), Stop(gradient_tolerance=0.1)])
def test_a_stop_rule_costs_the_steps_that_it_saves(stop: Stop) -> None:
    problem = random_problem(3)
    found = diagnosed(problem, replace(PLAIN, stop=stop))
    said = found.causes["stopped_early"]
    assert said.numbers["gap_after_all"] == pytest.approx(ran(problem, PLAIN).gap, rel=1e-6)
    assert said.numbers["steps"] == found.end.steps < 100.0 == said.numbers["steps_asked"]


def test_single_precision_has_a_floor_that_more_steps_do_not_lower() -> None:
    turn = np.linspace(0.0, 6.0, 50)
    near = np.column_stack([np.sin(turn), np.sin(turn) + 0.05 * np.cos(turn)])
    problem, solver = _problem(near, turn, "x1", "x2"), Descent(optimizer=Sgd(0.4), epochs=60_000, dtype="float32")
    found = diagnosed(problem, solver)
    assert "float32_floor" in found.causes
    assert "too_few_steps" not in found.causes
    assert ran(problem, replace(solver, dtype="float64")).gap < 0.5 * found.gap
    assert ran(problem, replace(solver, epochs=120_000)).gap > 0.9 * found.gap


# What the data do not determine.


def _made_of_others() -> tuple[FloatArray, FloatArray]:
    two = np.random.default_rng(0).normal(size=(20, 2))
    return np.column_stack([two, 2.0 * two[:, 0] - two[:, 1] + 1.0]), two.sum(axis=1)


def test_what_is_not_identified_is_said_even_where_it_costs_nothing() -> None:
    problem = _problem(*_made_of_others(), "a", "b", "c")
    found = diagnosed(problem, replace(PLAIN, epochs=10_000))
    assert list(found.causes) == ["agrees", "not_identified"]
    assert "c = 2 a - b + 1" in found.causes["not_identified"].message
    assert found.causes["not_identified"].share == 0.0


def test_in_other_units_another_solution_is_the_one_of_least_norm() -> None:
    """From zero, in standardised units: nothing is remembered, and yet the end is not the reference."""
    problem = replace(_problem(*_made_of_others(), "a", "b", "c"), scaling=Scaling("standard"))
    found = diagnosed(problem, replace(PLAIN, epochs=10_000))
    assert found.causes["not_identified"].share == 1.0
    assert "start_remembered" not in found.causes
    assert found.causes["not_identified"].numbers["gap"] == pytest.approx(found.gap, rel=1e-9)


def test_a_penalty_is_no_gap() -> None:
    problem = _problem(*_made_of_others(), "a", "b", "c")
    found = diagnosed(problem, replace(PLAIN, epochs=10_000, penalty=Penalty(0.1)))
    assert list(found.causes) == ["agrees", "not_identified"]
    assert "the penalty decides about the rest" in found.causes["not_identified"].message


def test_more_columns_than_directions_are_looked_for_in() -> None:
    """Beyond what the spectrum is worked out for, flat parts are told from others all the same."""
    stream = np.random.default_rng(1)
    x = stream.normal(size=(20, 600))
    problem = _problem(x, x[:, 0], *(f"x{j}" for j in range(600)))
    found = diagnosed(problem, Descent(optimizer=Sgd(0.005), epochs=400, start=GlorotUniform()))
    assert found.diagnosis.directions == ()
    unknown = found.causes["not_identified"]
    design = np.column_stack([np.ones(20), x])
    flat = found.end.estimate - found.setting.optimum.parameters
    flat = flat - np.linalg.pinv(design) @ (design @ flat)
    assert unknown.numbers["gap"] == pytest.approx(float(np.linalg.norm(flat)), rel=1e-6)
    assert unknown.share > 0.9


# What leaves float64, and what cannot be known.


def test_numbers_too_large_are_not_put_down_to_the_learning_rate() -> None:
    problem = _problem(np.array([[1000.0], [2000.0], [4000.0]]), np.array([1e38, -1e38, 3e38]), "x")
    found = diagnosed(problem, Descent(optimizer=Sgd(1e-8), dtype="float32"))
    assert found.end.kind == "diverged"
    assert "numbers_out_of_range" in found.causes
    assert "learning_rate_too_large" not in found.causes


@pytest.mark.parametrize(
    "optimizer", [Sgd(1.0), Sgd(0.9, momentum=0.9), Sgd(2.0, clipvalue=1e300), Sgd(5.0, use_ema=True)]
)
def test_what_diverges_has_too_large_a_rate(optimizer: Optimizer) -> None:
    found = diagnosed(random_problem(3), Descent(optimizer=optimizer, epochs=5000))
    assert found.end.kind == "diverged"
    assert next(iter(found.causes)) == "learning_rate_too_large"
    assert found.causes["learning_rate_too_large"].share == 1.0


def test_what_nobody_can_follow_is_said_to_be_unexplained() -> None:
    def nobody(_: Simulation) -> Simulated:
        raise TooLong

    def measured_by_nobody(_: object) -> Any:
        raise TooLong

    found = ran(random_problem(3), Descent(optimizer=Adam(0.1), epochs=50))
    said = diagnose(found.setting, found.end, ENDS, Means(nobody, measured_by_nobody)).causes
    assert [cause.code for cause in said if cause.share > 0.0] == ["unexplained"]


# Of all that is said.


def test_a_forecast_says_what_the_fit_says() -> None:
    """In closed form its end is the fit's, and all but what was printed is known beforehand."""
    for solver in (PLAIN, replace(PLAIN, batch_size=5), replace(PLAIN, optimizer=Sgd(0.45, momentum=0.3), epochs=10)):
        found = diagnosed(random_problem(3), solver)
        ahead, setting = found.end.outlook, found.setting
        estimate = setting.problem.units.to_user(ahead.end)
        end = End(None, ahead.steps, ahead.end, estimate, found.end.loss, None, ahead)
        means = Means(lambda _: pytest.fail("nothing is to be simulated"), lambda _: pytest.fail("nor run"))
        causes = diagnose(setting, end, ENDS, replace(means, measure=_measured_by_nobody)).causes
        of_fit = [cause for cause in found.diagnosis.causes if cause.code != "loss_is_before_update"]
        assert [(c.code, c.share, c.terms) for c in causes] == [(c.code, c.share, c.terms) for c in of_fit]


def _measured_by_nobody(_: object) -> Any:
    raise TooLong


def test_numbers_are_those_of_the_registry() -> None:
    for title, found in diagnosed_ends().items():
        for cause in found.diagnosis.causes:
            kind, named = CAUSES[cause.code], dict.fromkeys(cause.numbers)
            if kind.each_term is not None:
                for term in found.setting.problem.model.terms:
                    assert f"with the mistake: {term}" in named, title
                    del named[f"with the mistake: {term}"]
            assert list(named) == list(kind.numbers), f"{title}: {cause.code}"
            assert all(value is None or np.isfinite(value) for value in cause.numbers.values())


def test_the_largest_share_comes_first_and_small_ones_are_left_out() -> None:
    free = {"agrees", "not_identified", "start_remembered", "loss_is_before_update", "target_shape_broadcast"}
    for found in diagnosed_ends().values():
        order = [(-cause.share, RANK[cause.code]) for cause in found.diagnosis.causes]
        assert order == sorted(order)
        for cause in found.diagnosis.causes:
            assert cause.share >= LEAST_SHARE or (cause.share == 0.0 and cause.code in free)


def test_every_gap_has_a_cause_and_agreement_has_none() -> None:
    for title, found in diagnosed_ends().items():
        size = float(np.linalg.norm(found.setting.optimum.parameters)) or 1.0
        assert ("agrees" in found.causes) == (found.gap <= AGREEMENT * size), title
        assert any(cause.share > 0.0 for cause in found.diagnosis.causes) != ("agrees" in found.causes), title


def test_remedies_are_named_by_the_causes_that_they_take_away() -> None:
    for found in diagnosed_ends().values():
        for cause in found.diagnosis.causes:
            numbers = [remedy.number for remedy in found.diagnosis.remedies if cause.code in remedy.causes]
            assert cause.remedy == (min(numbers) if numbers else None)
