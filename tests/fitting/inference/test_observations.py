from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fitting.arrays import FloatArray
from service.fitting.inference.observations import Observations, observations
from service.fitting.reference.design import Design
from service.fitting.reference.least_squares import least_squares
from tests.fitting.inference.recorded import CASES, TOLERANCE, Case

FIELDS = {
    "fitted": "fitted",
    "residual": "residuals",
    "leverage": "leverage",
    "studentized_internal": "studentised_internal",
    "studentized_external": "studentised_external",
    "cooks_distance": "cooks_distance",
}
ANSWERS = [
    pytest.param(name, k, answer, id=f"{name}-{program}-{answer['target']}")
    for name in CASES
    for program in ("r", "statsmodels")
    for k, answer in enumerate(CASES[name][program])
    if "leverage" in answer
]


@pytest.mark.parametrize(("name", "k", "recorded"), ANSWERS)
def test_as_r_and_statsmodels(name: str, k: int, recorded: dict[str, Any]) -> None:
    case = Case.of(name)
    found = observations(case.solution, case.y)
    counted = np.ones(len(case.y), dtype=np.bool_)
    if case.solution.design.weights is not None:
        counted = case.solution.design.weights > 0.0
    for field, key in FIELDS.items():
        ours, theirs = getattr(found, field), np.array(recorded[key])
        column = ours if field == "leverage" else ours[:, k]
        # R leaves rows of weight 0 out of everything but fitted values and residuals.
        column = column if len(theirs) == len(column) else column[counted]
        scale = np.abs(theirs).max()
        assert (np.abs(column - theirs) <= 10 * TOLERANCE[name] * scale).all(), field


def _without_each_row(design: Design, y: FloatArray, row: int) -> tuple[FloatArray, float]:
    """Parameters and residual variance of the fit without a row."""
    kept = np.arange(len(y)) != row
    weights = None if design.weights is None else design.weights[kept]
    solution = least_squares(Design(design.features[kept], design.intercept, weights=weights), y[kept])
    return solution.parameters, float(solution.target_squares[0]) / (solution.rows_used - solution.rank)


@pytest.mark.parametrize("weighted", [False, True])
def test_what_deleting_a_row_does(weighted: bool) -> None:
    """studentized_external, DFFITS and Cook's distance are statements about the fit without the row."""
    stream = np.random.default_rng(7)
    x, y = stream.normal(size=(12, 2)), stream.normal(size=(12, 1))
    weights = stream.uniform(0.5, 2.0, size=12) if weighted else None
    design = Design(x, weights=weights)
    solution = least_squares(design, y)
    found = observations(solution, y)
    a, s = design.plain(), np.ones(12) if weights is None else weights
    variance = float(solution.target_squares[0]) / 9
    for row in range(12):
        parameters, variance_without = _without_each_row(design, y, row)
        moved = a @ (solution.parameters - parameters)
        h = found.leverage[row]
        external = np.sqrt(s[row]) * solution.residuals[row, 0] / np.sqrt(variance_without * (1.0 - h))
        assert found.studentized_external[row, 0] == pytest.approx(external, rel=1e-10)
        dffits = moved[row, 0] / np.sqrt(variance_without * h / s[row])
        assert found.dffits[row, 0] == pytest.approx(dffits, rel=1e-10)
        cook = float((s * moved[:, 0] ** 2).sum()) / (3 * variance)
        assert found.cooks_distance[row, 0] == pytest.approx(cook, rel=1e-10)
    assert found.reasons == (None,)


def _observed(x: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> Observations:
    with np.errstate(all="raise"):
        return observations(least_squares(Design(x, weights=weights), y), y)


def _sample(rows: int = 8, features: int = 1) -> tuple[FloatArray, FloatArray]:
    stream = np.random.default_rng(8)
    return stream.normal(size=(rows, features)), stream.normal(size=(rows, 1))


def test_a_saturated_fit_has_leverage_and_nothing_more() -> None:
    found = _observed(*_sample(2))
    np.testing.assert_allclose(found.leverage, 1.0)
    assert np.isnan(found.studentized_internal).all()
    assert np.isnan(found.cooks_distance).all()
    assert found.reasons == (
        "2 rows determine 2 coefficients exactly: no degree of freedom is left to estimate a variance.",
    )


def test_one_degree_of_freedom_leaves_none_without_the_row() -> None:
    found = _observed(*_sample(3))
    assert np.isfinite(found.studentized_internal).all()
    assert np.isnan(found.studentized_external).all()
    assert found.reasons[0] is not None
    assert found.reasons[0].startswith("One degree of freedom is left")


def test_a_row_of_leverage_1_is_named() -> None:
    x, y = _sample()
    alone = np.zeros((8, 1))
    alone[2] = 5.0
    found = _observed(np.hstack([x, alone]), y)
    assert found.leverage[2] == pytest.approx(1.0)
    for values in (found.studentized_internal, found.studentized_external, found.cooks_distance, found.dffits):
        assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == [2]
    assert found.reasons[0] is not None
    assert found.reasons[0].startswith("Row 2 has leverage 1.")


def test_many_rows_of_leverage_1_are_counted() -> None:
    x, y = _sample(12)
    found = _observed(np.hstack([x, np.eye(12)[:, :7]]), y)
    assert found.reasons[0] is not None
    assert found.reasons[0].startswith("Rows 0, 1, 2, 3, 4 and 2 more have leverage 1.")


def test_rows_of_weight_0_have_no_part() -> None:
    x, y = _sample()
    weights = np.array([1.0, 0.0, 2.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    found = _observed(x, y, weights)
    empty = weights == 0.0
    assert (found.leverage[empty] == 0.0).all()
    assert (np.isnan(found.studentized_external[:, 0]) == empty).all()
    assert np.isfinite(found.residual).all()
    np.testing.assert_allclose(found.fitted + found.residual, y)
    assert found.reasons == ("Rows of weight 0 take no part in the fit.",)


def test_one_row_off_a_perfect_line_is_infinitely_far() -> None:
    x = np.arange(8.0)[:, None]
    y = 3.0 + 2.0 * x
    y[5] += 1.0
    found = _observed(x, y)
    assert np.isfinite(found.studentized_internal).all()
    assert np.flatnonzero(np.isnan(found.studentized_external[:, 0])).tolist() == [5]
    assert found.reasons[0] is not None
    assert found.reasons[0].startswith("Without one of the rows")


def test_exact_fits_and_others_side_by_side() -> None:
    x, (_, y) = np.arange(8.0)[:, None], _sample()
    found = _observed(x, np.hstack([y, 4.0 - 2.0 * x, np.ones((8, 1))]))
    assert np.isfinite(found.studentized_external[:, 0]).all()
    assert np.isnan(found.studentized_internal[:, 1:]).all()
    assert found.reasons == (None, *["All residuals are 0: there is nothing to compare them with."] * 2)


def test_nothing_determined() -> None:
    _, y = _sample()
    solution = least_squares(Design(np.zeros((8, 1)), intercept=False), y)
    found = observations(solution, y)
    assert (found.leverage == 0.0).all()
    assert np.isnan(found.cooks_distance).all()
    assert found.reasons[0] is not None


def test_a_penalised_fit_has_no_studentised_residuals() -> None:
    x, y = _sample()
    solution = least_squares(Design(x, penalties=np.array([0.0, 1.0])), y)
    found = observations(solution, y)
    np.testing.assert_array_equal(found.residual, solution.residuals)
    a = solution.design.plain()
    hat = a @ np.linalg.inv(a.T @ a + np.diag([0.0, 1.0])) @ a.T
    np.testing.assert_allclose(found.leverage, hat.diagonal(), rtol=1e-12)
    assert np.isnan(found.studentized_internal).all()
    assert found.reasons[0] is not None
    assert found.reasons[0].startswith("A penalised fit is biased")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x, y, s: (x * 1e300, y * 1e-300, s),
        lambda x, y, s: (x * 1e-300, y * 1e300, s),
        lambda x, y, s: (x, y, s * 10.0 ** np.linspace(-100, 100, 8)),
        lambda x, y, s: (x, y, s * 1e-300),
        lambda x, y, s: (x * 0.0, y, s),
        lambda x, y, s: (x, y * 0.0, s),
    ],
)
def test_extremes_neither_warn_nor_answer_infinity(
    spoil: Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]],
) -> None:
    x, y = _sample()
    found = _observed(*spoil(x, y, np.ones(8)))
    for field in ("fitted", "residual", *FIELDS, "dffits"):
        assert not np.isinf(getattr(found, field)).any(), field
    if np.isnan(found.dffits).any():
        assert found.reasons[0] is not None


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.sampled_from([-1e6, 0.0, 3.0]), power=st.integers(-200, 200))
def test_what_lies_off_does_not_depend_on_units(seed: int, shift: float, power: int) -> None:
    stream = np.random.default_rng(seed)
    x, y = stream.normal(size=(10, 2)), np.round(stream.normal(size=(10, 1)), 2)
    one, other = _observed(x, y), _observed(x, (y + shift) * 2.0**power)
    for field in ("leverage", "studentized_internal", "studentized_external", "cooks_distance", "dffits"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-6, atol=1e-8)
