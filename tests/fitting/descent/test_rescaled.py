"""Settings in other units, against those of the rescaled problem, for which everything is solved again."""

from dataclasses import replace

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import Ended, GlorotUniform, Values
from service.fitting.exact import references
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling, ScalingKind
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem, solve

PROBLEMS = {
    "plain": random_problem(1),
    "three targets": random_problem(2, targets=3),
    "weighted": random_problem(3, weighted=True),
    "powers": random_problem(4, degree=3),
    "scaled before": random_problem(5, scaling=Scaling("minmax", "robust")),
    "sum of squares": random_problem(6, loss="sum_squares"),
    "one row more than terms": random_problem(7, rows=5),
}


def _setting(problem: Problem, solver: Descent | None = None) -> Setting:
    solver = solver or Descent()
    return Setting.of(problem, solver, references(problem, solver.penalty))


def _gram(setting: Setting) -> FloatArray:
    triangle = setting.optimum.triangle
    gram: FloatArray = triangle.T @ triangle
    return gram


def _assert_same(ours: Setting, solved_again: Setting, tolerance: float) -> None:
    for one, other in (
        (ours.optimum.scaled, solved_again.optimum.scaled),
        (_gram(ours), _gram(solved_again)),
        (ours.spectrum.eigenvalues, solved_again.spectrum.eigenvalues),
        (ours.gap_at_start, solved_again.gap_at_start),
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())
    assert ours.optimum.scaled_least == pytest.approx(solved_again.optimum.scaled_least, rel=tolerance)
    assert ours.spectrum.names == solved_again.spectrum.names


@pytest.mark.parametrize("targets", ["none", "standard", "maxabs"])
@pytest.mark.parametrize("features", ["none", "standard", "minmax", "maxabs", "robust"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_it_is_what_solving_again_gives(name: str, features: ScalingKind, targets: ScalingKind) -> None:
    problem, scaling = PROBLEMS[name], Scaling(features, targets)
    start = GlorotUniform()
    ours = _setting(problem, Descent(start=start)).with_scaling(scaling)
    assert ours is not None
    assert ours.problem.scaling == scaling
    _assert_same(ours, _setting(replace(problem, scaling=scaling), Descent(start=start)), 1e-12)


def test_the_reference_stays() -> None:
    setting = _setting(PROBLEMS["plain"])
    other = setting.with_scaling(Scaling("standard", "standard"))
    assert other is not None
    assert other.found is setting.found
    assert other.optimum.parameters is setting.optimum.parameters
    assert other.optimum.least == setting.optimum.least


@pytest.mark.parametrize("away", [1e3, 1e7, 1e11])
def test_columns_far_from_zero_keep_what_they_have(away: float) -> None:
    """Of R T nothing would be left: the rows are looked at again."""
    stream = np.random.default_rng(1)
    x = away + stream.normal(size=(40, 2))
    dataset = Dataset.from_arrays(x, stream.normal(size=(40, 1)))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    ours = _setting(problem).with_scaling(Scaling("standard"))
    assert ours is not None
    again = _setting(replace(problem, scaling=Scaling("standard")))
    np.testing.assert_allclose(ours.spectrum.eigenvalues, again.spectrum.eigenvalues, rtol=1e-11)


def test_a_constant_column_is_flat_in_units_of_its_spread() -> None:
    stream = np.random.default_rng(2)
    x = np.column_stack([stream.normal(size=30), np.full(30, 1.7)])
    dataset = Dataset.from_arrays(x, stream.normal(size=(30, 1)))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    start = Values(((1.0,), (2.0,)), (3.0,))
    ours = _setting(problem, Descent(start=start)).with_scaling(Scaling("standard"))
    assert ours is not None
    _assert_same(ours, _setting(replace(problem, scaling=Scaling("standard")), Descent(start=start)), 1e-12)
    assert ours.spectrum.is_flat.sum() == 1


def test_where_there_are_many_it_is_the_one_of_least_norm_in_its_own_units() -> None:
    stream = np.random.default_rng(3)
    x = stream.normal(size=(30, 2)) * [1.0, 20.0] + [0.0, 3.0]
    x = np.column_stack([x, x @ [1.0, -2.0]])
    dataset = Dataset.from_arrays(x, stream.normal(size=(30, 2)))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    ours = _setting(problem).with_scaling(Scaling("standard", "maxabs"))
    assert ours is not None
    again = _setting(replace(problem, scaling=Scaling("standard", "maxabs")))
    np.testing.assert_allclose(ours.optimum.scaled, again.optimum.scaled, rtol=1e-12)


def test_it_goes_on_from_where_another_fit_ended() -> None:
    problem, scaling = PROBLEMS["plain"], Scaling("standard")
    ended = solve(problem, Descent(epochs=3)).standing
    solver = Descent(start=Ended("another"))
    setting = Setting.of(problem, solver, references(problem, None), ended)
    ours = setting.with_scaling(scaling)
    again = Setting.of(replace(problem, scaling=scaling), solver, references(problem, None), ended)
    assert ours is not None
    np.testing.assert_allclose(ours.gap_at_start, again.gap_at_start, rtol=1e-12)


def test_a_penalty_in_other_units_is_another_problem() -> None:
    setting = _setting(PROBLEMS["plain"], Descent(penalty=L2(0.1)))
    assert setting.with_scaling(Scaling("standard")) is None


def test_without_an_intercept_nothing_is_centred() -> None:
    setting = _setting(random_problem(1, intercept=False))
    assert setting.with_scaling(Scaling("standard")) is None
    assert setting.with_scaling(Scaling("none", "minmax")) is None
    scaled = setting.with_scaling(Scaling("maxabs", "maxabs"))
    assert scaled is not None
    _assert_same(scaled, _setting(random_problem(1, intercept=False, scaling=Scaling("maxabs", "maxabs"))), 1e-12)


def test_the_same_units_are_measured_once() -> None:
    setting = _setting(PROBLEMS["plain"])
    one = setting.with_scaling(Scaling("standard"))
    other = setting.with_solver(Descent(epochs=7)).with_scaling(Scaling("standard"))
    assert one is not None
    assert other is not None
    assert other.problem is one.problem
    assert other.kept is one.kept
    assert other.plan.total_steps == 7
    assert setting.with_scaling(setting.problem.scaling) is setting
