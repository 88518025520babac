"""Which directions of its start a descent has kept."""

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.account import Optimum
from service.fitting.descent.remembered import MOST_PARAMETERS, in_words, remembered
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.reference.least_squares import least_squares
from service.fitting.solution import Remembered


def _nearly_collinear(spread: float) -> FloatArray:
    """(40, 2): two columns that differ by `spread` from each other, orthogonally to what they share."""
    turn = 2.0 * np.pi * np.arange(40) / 40
    return np.column_stack([np.sin(turn) + spread * np.cos(turn), np.sin(turn) - spread * np.cos(turn)])


def _optimum(x: FloatArray, y: FloatArray) -> Optimum:
    dataset = Dataset.from_arrays(x, y)
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    least = least_squares(problem.design(), problem.y)
    return Optimum(least.parameters, least.squares, least.parameters, least.squares, least.triangle)


def _descended(optimum: Optimum, divisor: float, start: FloatArray, rate: float, steps: int) -> FloatArray:
    hessian = 2.0 / divisor * optimum.triangle.T @ optimum.triangle
    shrunk = np.linalg.matrix_power(np.eye(len(start)) - rate * hessian, steps)
    return optimum.scaled + shrunk @ (start - optimum.scaled)


TERMS = ("(intercept)", "x1", "x2")


def test_the_slow_direction_is_named_and_measured() -> None:
    x = _nearly_collinear(0.01)
    optimum = _optimum(x, x.sum(axis=1, keepdims=True) / 2)
    start = np.array([[0.3], [0.9], [-0.2]])
    end = _descended(optimum, 40.0, start, 0.1, 500)
    [found] = remembered(TERMS, optimum, 40.0, start, end)
    assert found.name == "x1 - x2"
    assert found.terms == TERMS
    np.testing.assert_allclose(found.coefficients, [0.0, 0.5**0.5, -(0.5**0.5)], atol=1e-12)
    # The columns differ by 2 * 0.01 cos: its mean square is 2e-4, and v'x'xv/n half of that.
    assert found.eigenvalue == pytest.approx(2e-4, rel=1e-9)
    assert found.gap_at_start == pytest.approx(1.1 * 0.5**0.5, rel=1e-9)
    assert found.left == pytest.approx((1.0 - 0.1 * 2e-4) ** 500, rel=1e-9)
    assert found.gap_at_end == pytest.approx(found.gap_at_start * found.left, rel=1e-12)
    assert in_words([found]) == " Along x1 - x2 the fit is still where it started: 99 % of that gap is left."


def test_what_is_forgotten_is_not_remembered() -> None:
    x = _nearly_collinear(0.5)
    optimum = _optimum(x, x.sum(axis=1, keepdims=True) / 2)
    start = np.array([[0.3], [0.9], [-0.2]])
    assert remembered(TERMS, optimum, 40.0, start, _descended(optimum, 40.0, start, 0.1, 500)) == ()
    assert in_words(()) == ""


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # Along x1 - x2, whose gap at the optimum (0, 0.5, 0.5) is 0.
        ((0.9, 0.1), (0.71, 0.29), True),
        ((0.9, 0.1), (0.69, 0.31), False),
        ((0.9, 0.1), (1.05, -0.05), True),
        ((0.9, 0.1), (1.2, -0.2), False),
        ((0.9, 0.1), (0.1, 0.9), False),
        ((0.5004, 0.4996), (0.5004, 0.4996), False),
        ((0.501, 0.499), (0.501, 0.499), True),
    ],
)
def test_a_gap_counts_that_is_half_there_and_can_be_seen(
    start: tuple[float, ...], end: tuple[float, ...], expected: bool
) -> None:
    x = _nearly_collinear(0.01)
    optimum = _optimum(x, x.sum(axis=1, keepdims=True) / 2)
    first, last = (np.array([[0.0], *([w] for w in weights)]) for weights in (start, end))
    assert bool(remembered(TERMS, optimum, 40.0, first, last)) is expected


@pytest.mark.parametrize("targets", [1, 2])
def test_where_the_loss_is_flat_all_of_the_start_is_held_by_few_directions(targets: int) -> None:
    """One row, four parameters: descent moves along (1, x) alone, and three directions are flat."""
    row = np.array([[2.0, -1.0, 3.0]])
    optimum = _optimum(row, np.ones((1, targets)))
    start = np.random.default_rng(3).normal(size=(4, targets))
    a = np.append(1.0, row)[:, None]
    end = start - a @ (a.T @ (start - optimum.scaled)) / (a.T @ a)
    found = remembered(("(intercept)", "x1", "x2", "x3"), optimum, float(targets), start, end)
    assert len(found) == targets
    directions = np.array([one.coefficients for one in found]).T
    np.testing.assert_allclose(directions.T @ directions, np.eye(targets), atol=1e-12)
    np.testing.assert_allclose(directions.T @ a, 0.0, atol=1e-12)
    np.testing.assert_allclose(directions @ (directions.T @ start), end - optimum.scaled, atol=1e-12)
    assert [one.eigenvalue for one in found] == [0.0] * targets
    assert [one.left for one in found] == pytest.approx([1.0] * targets)


def test_descent_from_zero_remembers_nothing_of_a_flat_direction() -> None:
    optimum = _optimum(np.array([[2.0, -1.0, 3.0]]), np.ones((1, 1)))
    start = np.zeros((4, 1))
    assert remembered(("(intercept)", "x1", "x2", "x3"), optimum, 1.0, start, optimum.scaled) == ()


def test_the_largest_gap_comes_first_and_the_others_are_counted() -> None:
    optimum = _optimum(np.diag([1e-3, 1e-4, 1e-5]), np.ones((3, 1)))
    start = optimum.scaled + np.array([[0.0], [1.0], [-30.0], [700.0]])
    found = remembered(("(intercept)", "x1", "x2", "x3"), optimum, 3.0, start, start)
    gaps = [one.gap_at_end for one in found]
    assert gaps == sorted(gaps, reverse=True)
    assert len(found) == 4
    assert in_words(found).endswith("100 % of that gap is left, and at least half along 3 other directions.")


def test_a_gap_that_is_closing_is_said_to_be() -> None:
    found = Remembered("x", ("x",), (1.0,), 0.1, 2.0, 1.4, 0.7)
    assert "still nearer to its start than to the reference: 70 % of that gap is left." in in_words([found])


def test_large_models_and_numbers_beyond_float64_are_left_alone() -> None:
    optimum = _optimum(_nearly_collinear(0.01), np.ones((40, 1)))
    start = np.ones((3, 1))
    assert remembered(TERMS, optimum, 40.0, start, np.full((3, 1), np.inf)) == ()
    wide = _optimum(np.random.default_rng(1).normal(size=(5, MOST_PARAMETERS)), np.ones((5, 1)))
    start = np.ones((MOST_PARAMETERS + 1, 1))
    assert remembered(tuple(f"x{j}" for j in range(MOST_PARAMETERS + 1)), wide, 5.0, start, start) == ()
