import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from service.fitting.arrays import FloatArray
from service.fitting.comparison import matching_digits
from service.fitting.reference.centred_cholesky import solve_centred
from service.fitting.reference.columns import DoubledColumns, RawColumns
from service.fitting.reference.compiled import COMPILED
from service.fitting.reference.design import Design
from service.fitting.reference.doubled_cholesky import solve_doubled
from service.fitting.reference.householder import solve_by_qr
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import LeastSquares, least_squares
from service.fitting.threads import threads, use_threads
from tests.fitting.reference.exactly import exact_rank, rational, relative_error, rows_of, solve_exactly

NIST: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "nist_strd.json").read_text())
UNIT_ROUNDOFF = 2.0**-53

both_kernels = pytest.mark.parametrize("kernels", [PLAIN, COMPILED], ids=["plain", "compiled"])


@both_kernels
@pytest.mark.parametrize("name", NIST)
def test_nist_to_13_digits(name: str, kernels: Kernels) -> None:
    text = NIST[name]
    x, y = (np.array(text[part], dtype=np.float64) for part in "xy")
    design = Design(x, text["model"].get("intercept", True), text["model"].get("degree", 1))
    solution = least_squares(design, y[:, None], kernels)
    residual_sd = np.sqrt(solution.target_squares[0] / (len(y) - design.columns))
    std_errors = residual_sd * np.sqrt(solution.inverse.diagonal())
    assert solution.certified_digits > 15.0
    for found, certified in (
        (solution.parameters[:, 0], text["beta"]),
        (std_errors, text["sd"]),
        (residual_sd, text["residual_sd"]),
    ):
        assert matching_digits(np.asarray(found), np.array(certified, dtype=np.float64)).min() >= 13.0


@st.composite
def _problems(draw: st.DrawFn) -> tuple[Design, FloatArray]:
    """Designs of every condition number up to 1e15, of every kind, with anything from no residual to much."""
    stream = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    degree, intercept = draw(st.sampled_from([1, 1, 2, 3, 6])), draw(st.booleans())
    p = draw(st.integers(1, 3 if degree < 4 else 1))
    m = p * degree + int(intercept)
    n = m + draw(st.integers(1, 9))
    x = stream.normal(size=(n, p))
    if p > 1:
        x[:, 1] = x[:, 0] + 10.0 ** -draw(st.floats(0.0, 15.0)) * x[:, 1]
    x = x * 10.0 ** stream.integers(-5, 5, size=p) + draw(st.sampled_from([0.0, 1.0, 1e3]))
    weights = stream.uniform(0.1, 10.0, n) ** 3 if draw(st.booleans()) else None
    if weights is not None and n > m + 1 and draw(st.booleans()):
        weights[0] = 0.0
    penalties = 10.0 ** stream.uniform(-8, 2, m) if draw(st.integers(0, 3)) == 0 else None
    if penalties is not None and intercept:
        penalties[0] = 0.0
    design = Design(x, intercept, degree, weights, penalties)
    a = design.plain()
    noise = draw(st.sampled_from([0.0, 1e-8, 1e-3, 1.0]))
    return design, a @ (stream.normal(size=m) / np.abs(a).max(axis=0)) + noise * stream.normal(size=n)


# Drawn from a seed: there is nothing to shrink.
@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(problem=_problems(), compiled=st.booleans())
def test_certified_digits_are_true_ones(problem: tuple[Design, FloatArray], compiled: bool) -> None:
    design, y = problem
    solution = least_squares(design, y[:, None], COMPILED if compiled else PLAIN)
    if not solution.is_full_rank:
        # Where the rank is full but for rounding, the answer belongs to another problem, and nothing may be claimed.
        assert solution.certified_digits == 0.0 or exact_rank(design) == solution.rank
        return
    if solution.certified_digits == 0.0:
        return
    truth = solve_exactly(design, y)
    lengths = np.linalg.norm(design.plain(), axis=0)
    largest = max(abs(t) * Fraction(length) for t, length in zip(truth.parameters, lengths, strict=True))
    for value, exact, length in zip(solution.parameters[:, 0], truth.parameters, lengths, strict=True):
        if value == 0.0:
            # What a hundred bits cannot tell from 0.
            assert abs(exact) * Fraction(length) <= largest * Fraction(10) ** -20
        else:
            assert relative_error(value, exact) <= 10.0**-solution.certified_digits * (1.0 + 1e-9)
    _check_the_rest(solution, y, truth)


def _check_the_rest(solution: LeastSquares, y: FloatArray, truth: Any) -> None:
    if solution.equilibrated_condition > 1e9:
        return
    m = len(solution.parameters)
    sizes = [float(truth.inverse[j][j]) ** 0.5 for j in range(m)]
    for i in range(m):
        for j in range(m):
            error = abs(Fraction(float(solution.inverse[i, j])) - truth.inverse[i][j])
            assert float(error) <= 1e-13 * sizes[i] * sizes[j]
    if float(truth.squares) > 1e-20 * float(y @ y):
        assert relative_error(solution.target_squares[0], truth.squares) <= 1e-14
    weights = solution.design.weights
    for i, exact in enumerate(truth.residuals):
        if weights is None or weights[i] > 0.0:
            error = abs(float(Fraction(float(solution.residuals[i, 0])) - exact))
            assert error <= 1e-13 * np.abs(y).max()


@both_kernels
def test_the_three_ways_agree_where_all_can_be_taken(kernels: Kernels) -> None:
    stream = np.random.default_rng(8)
    x, y = stream.normal(size=(3000, 3)), stream.normal(size=(3000, 2))
    for penalties in (None, np.array([0.0, 1.0, 2.0, 3.0])):
        design = Design(x, penalties=penalties)
        raw, doubled = RawColumns.of(design, y), DoubledColumns.of(design, y)
        ways = [solve_centred(raw, kernels), solve_doubled(doubled, kernels), solve_by_qr(doubled, kernels)]
        scale = [raw.exponents, doubled.exponents, doubled.exponents]
        for way, exponents in zip(ways, scale, strict=True):
            assert way is not None
            assert ways[0] is not None
            factor = np.ldexp(1.0, (-exponents).astype(int))[:, None]
            back = np.ldexp(1.0, doubled.target_exponents.astype(int)) if way is not ways[0] else 1.0
            np.testing.assert_allclose(way.parameters.rounded * factor * back, ways[0].parameters.rounded, rtol=3e-16)
            np.testing.assert_allclose(way.inverse() * factor * factor.T, ways[0].inverse(), rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize(
    ("exponent", "method"),
    [(0.5, "cholesky_refined"), (4.0, "cholesky_doubled_refined"), (9.0, "householder_qr_refined")],
)
@pytest.mark.parametrize("rows", [12, 5000])
def test_the_condition_number_decides_and_size_does_not(rows: int, exponent: float, method: str) -> None:
    stream = np.random.default_rng(3)
    u, _ = np.linalg.qr(stream.normal(size=(rows, 4)))
    v, _ = np.linalg.qr(stream.normal(size=(4, 4)))
    design = Design(u * np.logspace(0.0, -exponent, 4) @ v.T, intercept=False)
    assert least_squares(design, stream.normal(size=(rows, 1)), COMPILED).method == method


def test_threads_change_nothing_but_the_last_bits() -> None:
    stream = np.random.default_rng(5)
    x, y = np.asfortranarray(stream.normal(size=(60_000, 8))), stream.normal(size=(60_000, 1))
    before = threads()
    try:
        answers = []
        for count in (1, 3):
            use_threads(count)
            answers.append(least_squares(Design(x), y, COMPILED))
    finally:
        use_threads(before)
    for answer in answers:
        assert answer.certified_digits > 15.9
    np.testing.assert_allclose(answers[0].parameters, answers[1].parameters, rtol=2 * UNIT_ROUNDOFF)


def test_targets_are_solved_side_by_side() -> None:
    stream = np.random.default_rng(1)
    x, y = stream.normal(size=(20, 3)), stream.normal(size=(20, 2))
    together = least_squares(Design(x), y)
    for k in range(2):
        alone = least_squares(Design(x), y[:, [k]])
        np.testing.assert_array_equal(together.parameters[:, [k]], alone.parameters)
        np.testing.assert_allclose(together.residuals[:, [k]], alone.residuals, atol=1e-14)


@pytest.mark.parametrize("exponent", [0, 3, 9])
def test_the_triangle_has_the_gram_matrix_and_units_of_the_design(exponent: int) -> None:
    stream = np.random.default_rng(2)
    x = stream.normal(size=(30, 4)) * [1e8, 1.0, 1e-8, 5.0]
    x[:, 1] = x[:, 3] + x[:, 1] * 10.0**-exponent
    design = Design(x, weights=stream.uniform(0.5, 2.0, 30), penalties=np.array([0.0, 1.0, 2.0, 0.0, 1.0]))
    a = design.plain() * np.sqrt(design.weights if design.weights is not None else 1.0)[:, None]
    triangle = least_squares(design, x[:, :1]).triangle
    gram = a.T @ a + np.diag(design.penalties if design.penalties is not None else np.zeros(5))
    sizes = np.sqrt(gram.diagonal())
    np.testing.assert_allclose(
        triangle.T @ triangle / sizes / sizes[:, None], gram / sizes / sizes[:, None], atol=1e-15
    )


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
def test_the_condition_number_is_that_of_the_design(offset: float) -> None:
    x = np.random.default_rng(3).normal(size=(30, 4)) * [100.0, 1.0, 1.0, 1.0] + offset
    solution = least_squares(Design(x), x[:, :1])
    a = solution.design.plain()
    assert solution.condition_number == pytest.approx(np.linalg.cond(a), rel=1e-10)
    assert solution.equilibrated_condition == pytest.approx(np.linalg.cond(a / np.linalg.norm(a, axis=0)), rel=1e-9)


def test_rows_of_weight_0_are_not_there() -> None:
    stream = np.random.default_rng(6)
    x, y = stream.normal(size=(12, 2)), stream.normal(size=(12, 1))
    weights = np.r_[0.0, stream.uniform(0.5, 2.0, 11)]
    with_it, without = (
        least_squares(Design(x, weights=weights), y),
        least_squares(Design(x[1:], weights=weights[1:]), y[1:]),
    )
    np.testing.assert_array_equal(with_it.parameters, without.parameters)
    assert with_it.rows_used == 11
    assert with_it.residuals[0, 0] == pytest.approx((y[0] - np.r_[1.0, x[0]] @ without.parameters)[0], rel=1e-12)


def test_weights_of_every_size_at_once() -> None:
    stream = np.random.default_rng(7)
    x, y = stream.normal(size=(40, 2)), stream.normal(size=(40, 1))
    weights = 10.0 ** np.r_[np.linspace(-300, 250, 37), 300, 300, 300]
    solution = least_squares(Design(x, weights=weights), y)
    assert solution.is_full_rank
    # The heaviest three rows are as good as alone.
    np.testing.assert_allclose(Design(x[-3:]).plain() @ solution.parameters, y[-3:], atol=1e-9)


@pytest.mark.parametrize("largest", [1e-300, 1e300, 5e-324])
def test_weights_of_any_size(largest: float) -> None:
    stream = np.random.default_rng(7)
    x, y = stream.normal(size=(12, 2)), stream.normal(size=(12, 1))
    weights = np.r_[np.full(6, largest), np.full(6, largest if largest < 1e-320 else largest / 2)]
    relative = weights / largest
    expected = least_squares(Design(x, weights=relative), y)
    np.testing.assert_allclose(least_squares(Design(x, weights=weights), y).parameters, expected.parameters, rtol=1e-13)


def test_the_least_norm_is_that_of_the_pseudoinverse_to_all_digits() -> None:
    stream = np.random.default_rng(4)
    a, b = stream.integers(-9, 9, size=(2, 50)).astype(np.float64)
    x = np.column_stack([a, b, stream.normal(size=50), 2 * a - b])
    y = stream.normal(size=(50, 2))
    solution = least_squares(Design(x), y)
    assert solution.rank == 4
    assert not solution.is_full_rank
    assert solution.identified.tolist() == [True, False, False, True, False]
    assert solution.condition_number == np.inf
    assert solution.certified_digits > 14.0
    truth = _exact_least_norm(solution.design, y[:, 0])
    assert max(relative_error(v, t) for v, t in zip(solution.parameters[:, 0], truth, strict=True)) < 1e-14


def _exact_least_norm(design: Design, y: FloatArray) -> list[Fraction]:
    """Of x1, x2, x4 = 2 x1 - x2: a basic solution less its part along the null vector (2, -1, -1)."""
    basic = solve_exactly(Design(design.features[:, :3]), y).parameters
    null = [Fraction(0), Fraction(2), Fraction(-1), Fraction(0), Fraction(-1)]
    whole = [*basic, Fraction(0)]
    along = sum((u * v for u, v in zip(whole, null, strict=True)), Fraction(0)) / 6
    return [u - along * v for u, v in zip(whole, null, strict=True)]


def test_a_rank_that_rounding_decides_is_not_certified() -> None:
    stream = np.random.default_rng(4)
    a, b = stream.normal(size=(2, 50))
    solution = least_squares(Design(np.column_stack([a, b, 2 * a - b])), stream.normal(size=(50, 1)))
    assert solution.rank == 3
    assert solution.certified_digits == 0.0


def test_identified_coefficients_keep_their_variance() -> None:
    stream = np.random.default_rng(9)
    a, b, c = stream.integers(-9, 9, size=(3, 20)).astype(np.float64)
    y = stream.normal(size=(20, 1))
    short = least_squares(Design(np.column_stack([a, b, a + b, c])), y)
    full = least_squares(Design(np.column_stack([a, b, c])), y)
    assert short.identified.tolist() == [True, False, False, False, True]
    np.testing.assert_allclose(short.inverse[[0, 4]][:, [0, 4]], full.inverse[[0, 3]][:, [0, 3]], rtol=1e-13)
    assert np.isnan(short.inverse[1]).all()


def test_fewer_rows_than_columns() -> None:
    a = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    y = np.array([[1.0], [2.0]])
    solution = least_squares(Design(a, intercept=False), y)
    assert solution.rank == 2
    assert not solution.identified.any()
    np.testing.assert_allclose(solution.parameters, np.linalg.pinv(a) @ y, rtol=1e-13)
    np.testing.assert_allclose(solution.triangle.T @ solution.triangle, a.T @ a, rtol=1e-13)


def test_nothing_but_zeros() -> None:
    solution = least_squares(Design(np.zeros((3, 2)), intercept=False), np.ones((3, 1)))
    assert solution.rank == 0
    np.testing.assert_array_equal(solution.parameters, 0.0)
    np.testing.assert_array_equal(solution.residuals, 1.0)


def test_an_intercept_alone_is_the_mean() -> None:
    y = np.random.default_rng(10).normal(size=(7, 1)) + 1e8
    solution = least_squares(Design(np.empty((7, 0))), y)
    assert relative_error(solution.parameters[0, 0], sum(rational(y[:, 0]), Fraction(0)) / 7) <= UNIT_ROUNDOFF


@both_kernels
@pytest.mark.parametrize("target", [0.0, 1e-300, 1e300])
def test_columns_of_any_size(target: float, kernels: Kernels) -> None:
    x = np.array([[1e300, 1e-290], [-1e300, 3e-290], [1e299, 5e-290]])
    solution = least_squares(Design(x, intercept=False), np.array([[target], [0.0], [target]]), kernels)
    assert solution.rank == 2
    assert np.isfinite(solution.parameters[0]).all()
    assert np.isfinite(solution.residuals).all()


def test_powers_carry_what_rounding_takes_from_them() -> None:
    x = np.linspace(-8.0, -3.0, 82)
    design = Design(x[:, None], degree=10)
    y = np.cos(x)
    truth = solve_exactly(design, y)
    solution = least_squares(design, y[:, None])
    errors = [relative_error(v, t) for v, t in zip(solution.parameters[:, 0], truth.parameters, strict=True)]
    assert max(errors) <= 2 * UNIT_ROUNDOFF
    rounded = Design(design.plain()[:, 1:])
    assert rows_of(rounded) != rows_of(design)
    others = least_squares(rounded, y[:, None]).parameters[:, 0]
    assert max(relative_error(v, t) for v, t in zip(others, truth.parameters, strict=True)) > 1e-12
