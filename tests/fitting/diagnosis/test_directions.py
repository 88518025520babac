"""Directions in plain numbers, of a descent that is somewhere."""

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.spectrum import MOST_PARAMETERS
from service.fitting.descent.start import Normal
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.directions import MOST_DIRECTIONS, directions
from service.fitting.diagnosis.outlook import outlook
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem
from tests.fitting.diagnosis.linear_problems import foreseen, really, setting_of


def _nearly_collinear(scaling: Scaling | None = None) -> Problem:
    turn = 2.0 * np.pi * np.arange(40) / 40
    x = np.column_stack([np.sin(turn) + 0.01 * np.cos(turn), np.sin(turn) - 0.01 * np.cos(turn)])
    y = np.column_stack([x.sum(axis=1) / 2, x @ [3.0, -1.0]])
    dataset = Dataset.from_arrays(x, y)
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), scaling or Scaling())


def test_the_slow_direction_comes_first_with_its_numbers() -> None:
    setting = setting_of(_nearly_collinear(), Descent(optimizer=Sgd(0.1), epochs=1000, start=Normal(1.0)))
    real = really(setting)
    found = directions(setting, foreseen(setting), real.parameters)
    slow = found[0]
    assert (slow.name, slow.terms) == ("x1 - x2", ("(intercept)", "x1", "x2"))
    np.testing.assert_allclose(slow.coefficients, [0.0, 0.5**0.5, -(0.5**0.5)], atol=1e-12)
    assert slow.eigenvalue == pytest.approx(1e-4, rel=1e-9)
    assert slow.rate == pytest.approx(1.0 - 1e-5, rel=1e-12)
    assert slow.half_life_steps == pytest.approx(np.log(2.0) / 1e-5, rel=1e-4)
    gaps = np.array(slow.coefficients) @ (setting.beginning.state.parameters - setting.optimum.scaled)
    assert slow.gap_at_start == pytest.approx(np.linalg.norm(gaps), rel=1e-12)
    assert slow.gap_at_end == pytest.approx(slow.gap_at_start * (1.0 - 1e-5) ** 1000, rel=1e-9)
    assert [step.steps for step in slow.steps_to[:2]] == [230258, 460515]
    assert [one.gap_at_end for one in found] == sorted((one.gap_at_end for one in found), reverse=True)


@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "standard")])
def test_shares_are_those_of_the_loss_in_the_users_units(scaling: Scaling) -> None:
    problem = _nearly_collinear(scaling)
    setting = setting_of(problem, Descent(optimizer=Sgd(0.1), epochs=5, start=Normal(1.0)))
    end = really(setting).parameters
    found = directions(setting, foreseen(setting), end)
    assert sum(one.share_of_excess for one in found) == pytest.approx(1.0)

    def loss(scaled: FloatArray) -> float:
        parameters = problem.units.to_user(scaled)
        return float(np.square(parameters[0] + problem.x @ parameters[1:] - problem.y).mean())

    least = loss(setting.optimum.scaled)
    for one in found:
        v = np.array(one.coefficients)[:, None]
        without = end - v @ (v.T @ (end - setting.optimum.scaled))
        share = 1.0 - (loss(without) - least) / (loss(end) - least)
        assert one.share_of_excess == pytest.approx(share, abs=1e-9)


def test_a_flat_direction_keeps_its_gap_for_ever() -> None:
    setting = setting_of(
        random_problem(3, rows=1, features=3), Descent(optimizer=Sgd(0.01), epochs=10**6, start=Normal(1.0))
    )
    [flat, steep] = directions(setting, foreseen(setting), foreseen(setting).end)
    assert (flat.eigenvalue, flat.rate, flat.half_life_steps, flat.share_of_excess) == (0.0, 1.0, None, 0.0)
    assert flat.gap_at_end == pytest.approx(flat.gap_at_start, rel=1e-12)
    assert {step.steps for step in flat.steps_to} == {None}
    assert steep.gap_at_end < 1e-12


def test_many_parameters_give_the_largest_gaps_and_too_many_none() -> None:
    wide = setting_of(random_problem(4, rows=60, features=30), Descent(optimizer=Sgd(1e-3), epochs=3))
    seen = foreseen(wide)
    found = directions(wide, seen, seen.end)
    assert len(found) == MOST_DIRECTIONS
    gaps = np.linalg.norm(wide.spectrum.gaps(seen.end - wide.optimum.scaled), axis=1)
    assert [one.gap_at_end for one in found] == pytest.approx(np.sort(gaps)[::-1][:MOST_DIRECTIONS])
    beyond = setting_of(random_problem(5, rows=5, features=MOST_PARAMETERS), Descent(epochs=3))
    assert directions(beyond, outlook(beyond, simulate), np.zeros((MOST_PARAMETERS + 1, 1))) == ()


def test_an_end_that_is_not_finite_is_told() -> None:
    setting = setting_of(random_problem(6), Descent())
    found = directions(setting, foreseen(setting), np.full((4, 1), np.inf))
    assert len(found) == 4
    assert not np.isfinite([one.gap_at_end for one in found]).any()
