from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fitting.arrays import FloatArray
from service.fitting.errors import InvalidProblem
from service.fitting.inference.observations import observations
from service.fitting.inference.predictions import Band, Predictions, predict
from service.fitting.reference.design import Design
from service.fitting.reference.least_squares import LeastSquares, least_squares
from tests.fitting.inference.exactly import quadratic_forms
from tests.fitting.inference.recorded import CASES, TOLERANCE, Case, nist_problem
from tests.fitting.reference.exactly import rational, relative_error, rows_of, solve_exactly

ANSWERS = [
    pytest.param(name, k, program, id=f"{name}-{program}-{answer['target']}")
    for name in CASES
    for program in ("r", "statsmodels")
    for k, answer in enumerate(CASES[name][program])
    # statsmodels counts rows of weight 0.
    if (name, program) != ("weighted_zero_row", "statsmodels")
]


def _predicted(solution: LeastSquares, new: FloatArray, level: float = 0.95) -> Predictions:
    with np.errstate(all="raise"):
        return predict(solution, solution.parameters, new, level)


@pytest.mark.parametrize(("name", "k", "program"), ANSWERS)
def test_as_r_and_statsmodels(name: str, k: int, program: str) -> None:
    case, recorded = Case.of(name), CASES[name][program][k]["predict"]
    found = _predicted(case.solution, case.new)
    band = found.reference
    pairs = [
        (band.estimate, recorded["fit"]),
        (found.std_error, recorded["se_fit"]),
        (band.ci_low, recorded["confidence_95"]["lower"]),
        (band.ci_high, recorded["confidence_95"]["upper"]),
        (band.pi_low, recorded["prediction_95"]["lower"]),
        (band.pi_high, recorded["prediction_95"]["upper"]),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours[:, k], theirs, rtol=10 * TOLERANCE[name], atol=TOLERANCE[name])
    assert found.reasons[k] is None
    assert found.df == CASES[name]["r"][k]["df_residual"]


@pytest.mark.parametrize("name", ["Filip", "Longley", "Wampler5"])
def test_widths_keep_their_digits_where_the_inverse_has_none(name: str) -> None:
    design, y = nist_problem(name)
    solution, exact = least_squares(design, y), solve_exactly(design, y[:, 0])
    low, high = design.features.min(axis=0), design.features.max(axis=0)
    new = low + np.linspace(0.03, 1.1, 5)[:, None] * (high - low)
    found = _predicted(solution, new)
    variance = exact.squares / (design.rows - design.columns)
    for row, form in enumerate(quadratic_forms(exact, Design(new, True, design.degree))):
        assert relative_error(found.std_error[row, 0] ** 2, form * variance) < 1e-12


def test_high_powers_do_not_cancel() -> None:
    """a' W of Filip's polynomial, for the parameters as they stand: thousands cancel to leave 0.8."""
    design, y = nist_problem("Filip")
    solution = least_squares(design, y)
    new = np.linspace(-8.7, -3.2, 9)[:, None]
    found = _predicted(solution, new)
    parameters = rational(solution.parameters[:, 0])
    for row, a in enumerate(rows_of(Design(new, True, 10))):
        truth = sum((p * q for p, q in zip(a, parameters, strict=True)), Fraction(0))
        assert relative_error(found.reference.estimate[row, 0], truth) < 1e-15


def test_a_row_of_the_data_is_predicted_as_it_was_fitted() -> None:
    case = Case.of("weighted")
    weights = case.solution.design.weights
    assert weights is not None
    found, seen = _predicted(case.solution, case.solution.design.features), observations(case.solution, case.y)
    np.testing.assert_allclose(found.reference.estimate, seen.fitted, rtol=1e-12)
    np.testing.assert_allclose(found.leverage * weights, seen.leverage, rtol=1e-12)
    assert not found.beyond_leverage.any()
    assert not found.outside.any()


def test_the_fit_stands_beside_its_reference() -> None:
    """The same widths, about the fit's own estimate."""
    case = Case.of("two_targets")
    own = case.solution.parameters + np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    found = predict(case.solution, own, case.new, 0.9)
    a = Design(case.new).plain()
    np.testing.assert_allclose(found.fit.estimate, a @ own, rtol=1e-13)
    for field in ("ci_low", "ci_high", "pi_low", "pi_high"):
        np.testing.assert_allclose(
            getattr(found.fit, field) - found.fit.estimate,
            getattr(found.reference, field) - found.reference.estimate,
            rtol=1e-9,
        )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.01, 0.999), weighted=st.booleans())
def test_intervals_hold_each_other(seed: int, level: float, weighted: bool) -> None:
    stream = np.random.default_rng(seed)
    x, y = stream.normal(size=(14, 3)), stream.normal(size=(14, 2))
    weights = stream.uniform(0.1, 3.0, size=14) if weighted else None
    solution = least_squares(Design(x, weights=weights), y)
    new = stream.normal(size=(4, 3))
    narrow, wide = (_predicted(solution, new, at) for at in (0.9 * level, level))
    for band in (narrow.reference, narrow.fit):
        assert (band.pi_low < band.ci_low).all()
        assert (band.ci_low < band.estimate).all()
        assert (band.estimate < band.ci_high).all()
        assert (band.ci_high < band.pi_high).all()
    assert (wide.reference.pi_high > narrow.reference.pi_high).all()
    assert (wide.reference.ci_low < narrow.reference.ci_low).all()


def test_what_lies_outside_is_flagged_by_feature() -> None:
    x = np.array([[0.0, 10.0], [1.0, 12.0], [2.0, 11.0], [3.0, 15.0], [9.0, 99.0]])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    solution = least_squares(Design(x, weights=weights), np.array([[0.0], [1.0], [0.0], [2.0], [7.0]]))
    new = np.array([[0.0, 15.0], [-0.1, 12.0], [3.0, 15.1], [9.0, 99.0]])
    found = _predicted(solution, new)
    assert found.outside.tolist() == [[False, False], [True, False], [False, True], [True, True]]


def test_a_hidden_extrapolation_is_inside_both_ranges() -> None:
    """Two features that go together: one high and the other low has never been seen."""
    stream = np.random.default_rng(9)
    first = stream.uniform(0.0, 1.0, size=40)
    x = np.column_stack([first, first + 0.02 * stream.normal(size=40)])
    solution = least_squares(Design(x), stream.normal(size=(40, 1)))
    found = _predicted(solution, np.array([[0.5, 0.5], [0.9, 0.1]]))
    assert not found.outside.any()
    assert found.beyond_leverage.tolist() == [False, True]


@pytest.mark.parametrize("degree", [1, 2])
def test_what_the_data_do_not_determine_has_no_interval(degree: int) -> None:
    """x3 = x1 + x2 in the data: only rows that keep to it can be told."""
    stream = np.random.default_rng(10)
    x = stream.integers(-20, 20, size=(15, 2)).astype(np.float64)
    solution = least_squares(Design(np.column_stack([x, x.sum(axis=1)]), degree=degree), stream.normal(size=(15, 1)))
    assert solution.rank == (3 if degree == 1 else 6)
    new = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [-7.0, 0.5, -6.5]])
    found = _predicted(solution, new)
    assert found.estimable.tolist() == [True, False, True]
    assert np.isfinite(found.reference.estimate).all()
    for values in (found.std_error, found.reference.ci_low, found.reference.pi_high, found.fit.pi_low):
        assert np.isnan(values[:, 0]).tolist() == [False, True, False]
    assert np.isnan(found.leverage).tolist() == [False, True, False]
    assert found.beyond_leverage[1]
    assert found.reasons[0] is not None
    assert found.reasons[0].startswith("Row 1 is not determined by the data")


def test_what_is_determined_is_told_as_without_the_column_too_many() -> None:
    stream = np.random.default_rng(10)
    x, y = stream.integers(-20, 20, size=(15, 2)).astype(np.float64), stream.normal(size=(15, 1))
    short = least_squares(Design(np.column_stack([x, x.sum(axis=1)])), y)
    full = least_squares(Design(x), y)
    new = np.array([[1.0, 2.0, 3.0], [-7.0, 0.5, -6.5]])
    one, other = _predicted(short, new), _predicted(full, new[:, :2])
    for ours, theirs in zip(_arrays(one), _arrays(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    np.testing.assert_allclose(one.leverage, other.leverage, rtol=1e-10)
    np.testing.assert_array_equal(one.beyond_leverage, other.beyond_leverage)


def _arrays(found: Predictions) -> list[FloatArray]:
    return [getattr(band, field.name) for band in (found.fit, found.reference) for field in fields(Band)]


@pytest.mark.parametrize(
    ("rows", "penalties", "reason"),
    [(2, None, "2 rows determine 2 coefficients exactly"), (9, [0.0, 1.0], "A penalised fit is biased")],
)
def test_no_variance_no_interval(rows: int, penalties: list[float] | None, reason: str) -> None:
    x = np.arange(float(rows))[:, None]
    design = Design(x, penalties=None if penalties is None else np.array(penalties))
    found = _predicted(least_squares(design, np.sin(x)), x + 0.5)
    assert np.isfinite(found.reference.estimate).all()
    assert np.isnan(found.std_error).all()
    assert np.isnan(found.reference.pi_low).all()
    assert found.df == 0
    assert found.reasons[0] is not None
    assert found.reasons[0].startswith(reason)


@pytest.mark.parametrize("x_unit", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("y_unit", [1e-300, 1.0, 1e300])
def test_extremes_neither_warn_nor_answer_infinity(x_unit: float, y_unit: float) -> None:
    stream = np.random.default_rng(11)
    x, y = stream.normal(size=(9, 2)) * x_unit, stream.normal(size=(9, 1)) * y_unit
    for weights in (None, np.full(9, 1e-300), 10.0 ** np.linspace(-40, 40, 9)):
        found = _predicted(
            least_squares(Design(x, weights=weights), y), np.vstack([x[:2] * 1.5, np.full((1, 2), 1e307)])
        )
        assert not np.isinf(np.stack([*_arrays(found), found.std_error])).any()
        if np.isnan(np.stack(_arrays(found))).any():
            assert found.reasons[0] is not None


def test_an_exact_fit_is_sure() -> None:
    x = np.arange(6.0)[:, None]
    found = _predicted(least_squares(Design(x), 2.0 + 3.0 * x), np.array([[10.0]]))
    assert found.reference.estimate.tolist() == [[32.0]]
    assert found.reference.pi_low[0, 0] == pytest.approx(32.0, abs=1e-12)
    assert found.reasons == (None,)


@pytest.mark.parametrize(
    ("new", "level", "place"),
    [
        (np.empty((0, 2)), 0.95, ("rows",)),
        (np.zeros(2), 0.95, ("rows",)),
        (np.zeros((2, 3)), 0.95, ("rows", 0)),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), 0.95, ("rows", 1)),
        (np.zeros((1, 2)), 1.0, ("confidence_level",)),
        (np.zeros((1, 2)), float("nan"), ("confidence_level",)),
    ],
)
def test_bad_questions_are_refused(new: Any, level: float, place: tuple[str | int, ...]) -> None:
    stream = np.random.default_rng(12)
    solution = least_squares(Design(stream.normal(size=(9, 2))), stream.normal(size=(9, 1)))
    with pytest.raises(InvalidProblem) as refused:
        predict(solution, solution.parameters, new, level)
    assert refused.value.place == place
