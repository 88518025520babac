import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fitting.arrays import FloatArray
from service.fitting.comparison import matching_digits
from service.fitting.reference.least_squares import least_squares

NIST: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "nist_strd_sample.json").read_text())


def _nist_design(text: dict[str, Any]) -> FloatArray:
    x = np.array(text["x"], dtype=np.float64)
    degree = text["model"].get("degree", 1)
    powers = [x**k for k in range(1, degree + 1)]
    ones = [np.ones((len(x), 1))] if text["model"].get("intercept", True) else []
    return np.hstack(ones + powers)


@pytest.mark.parametrize("name", NIST)
def test_nist_coefficients_to_13_digits(name: str) -> None:
    text = NIST[name]
    y = np.array(text["y"], dtype=np.float64)[:, None]
    solution = least_squares(_nist_design(text), y)
    certified = np.array(text["beta"], dtype=np.float64)
    assert matching_digits(solution.parameters[:, 0], certified).min() >= 13.0


def _dot(left: list[Fraction], right: list[Fraction]) -> Fraction:
    return sum((p * q for p, q in zip(left, right, strict=True)), Fraction(0))


def _solve_exactly(a: FloatArray, b: FloatArray) -> list[Fraction]:
    """Gaussian elimination on the normal equations in rational arithmetic."""
    columns = [[Fraction(float(v)) for v in column] for column in a.T]
    right = [Fraction(float(v)) for v in b]
    m = len(columns)
    rows = [[_dot(columns[i], columns[j]) for j in range(m)] + [_dot(columns[i], right)] for i in range(m)]
    for i in range(m):
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for k in range(m):
            if k != i:
                factor = rows[k][i]
                rows[k] = [u - factor * v for u, v in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(0.0, 10.0), noise=st.sampled_from([0.0, 1e-3, 1.0]))
def test_ill_conditioned_designs_agree_with_rational_arithmetic(seed: int, exponent: float, noise: float) -> None:
    stream = np.random.default_rng(seed)
    u, _ = np.linalg.qr(stream.normal(size=(12, 4)))
    v, _ = np.linalg.qr(stream.normal(size=(4, 4)))
    a = u * np.logspace(0.0, -exponent, 4) @ v.T
    b = a @ stream.normal(size=4) + noise * stream.normal(size=12)
    solution = least_squares(a, b[:, None])
    exact = np.array([float(x) for x in _solve_exactly(a, b)])
    error = np.linalg.norm(solution.parameters[:, 0] - exact) / np.linalg.norm(exact)
    assert solution.rank == 4
    assert error < 1e-14


def test_targets_are_solved_side_by_side() -> None:
    stream = np.random.default_rng(1)
    a, y = stream.normal(size=(20, 3)), stream.normal(size=(20, 2))
    together = least_squares(a, y)
    for k in range(2):
        alone = least_squares(a, y[:, [k]])
        np.testing.assert_array_equal(together.parameters[:, [k]], alone.parameters)
        np.testing.assert_array_equal(together.residuals[:, [k]], alone.residuals)


def test_the_triangle_has_the_gram_matrix_and_units_of_the_design() -> None:
    a = np.random.default_rng(2).normal(size=(30, 4)) * [1e8, 1.0, 1e-8, 5.0]
    triangle = least_squares(a, a[:, :1]).triangle
    np.testing.assert_allclose(triangle.T @ triangle, a.T @ a, rtol=1e-10, atol=1e-10)


def test_the_condition_number_is_that_of_the_design() -> None:
    a = np.random.default_rng(3).normal(size=(30, 4)) * [100.0, 1.0, 1.0, 1.0]
    assert least_squares(a, a[:, :1]).condition_number == pytest.approx(np.linalg.cond(a), rel=1e-12)


def test_collinear_columns_give_the_least_norm_and_say_what_is_identified() -> None:
    stream = np.random.default_rng(4)
    x = stream.normal(size=(50, 3))
    a = np.column_stack([np.ones(50), x, 2 * x[:, 0] - x[:, 1]])
    y = stream.normal(size=(50, 2))
    solution = least_squares(a, y)
    assert solution.rank == 4
    assert not solution.is_full_rank
    assert solution.identified.tolist() == [True, False, False, True, False]
    assert solution.condition_number == np.inf
    np.testing.assert_allclose(solution.parameters, np.linalg.pinv(a) @ y, rtol=1e-12)


def test_fewer_rows_than_columns() -> None:
    a = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    y = np.array([[1.0], [2.0]])
    solution = least_squares(a, y)
    assert solution.rank == 2
    assert not solution.identified.any()
    np.testing.assert_allclose(solution.parameters, np.linalg.pinv(a) @ y, rtol=1e-13)
    np.testing.assert_allclose(solution.triangle.T @ solution.triangle, a.T @ a, rtol=1e-13)


def test_nothing_but_zeros() -> None:
    solution = least_squares(np.zeros((3, 2)), np.ones((3, 1)))
    assert solution.rank == 0
    np.testing.assert_array_equal(solution.parameters, 0.0)
    np.testing.assert_array_equal(solution.residuals, 1.0)


@pytest.mark.parametrize("target", [0.0, 1e-300, 1e300])
def test_columns_of_any_size(target: float) -> None:
    a = np.array([[1e300, 1e-290], [-1e300, 3e-290], [1e299, 5e-290]])
    solution = least_squares(a, np.array([[target], [0.0], [target]]))
    assert solution.rank == 2
    assert np.isfinite(solution.parameters[0]).all()
    assert np.isfinite(solution.residuals).all()
