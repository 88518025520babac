import numpy as np
import pytest

from service.fitting.inference.collinearity import collinearity
from service.fitting.inference.infer import infer
from service.fitting.inference.options import Inference
from service.fitting.reference.design import Design
from service.fitting.reference.least_squares import least_squares
from tests.fitting.inference.recorded import CASES, Case

# statsmodels leaves weights out of its variance inflation factors, and centres columns even without an intercept.
PLAIN = [name for name, case in CASES.items() if case["input"]["weights"] is None and case["input"]["intercept"]]
WITH_GRETL = [name for name, case in CASES.items() if case["gretl"] is not None]


@pytest.mark.parametrize("name", PLAIN)
def test_variance_inflation_is_as_of_statsmodels(name: str) -> None:
    case = Case.of(name)
    found = np.array(collinearity(case.solution, case.terms).variance_inflation)
    assert np.isnan(found[0])
    recorded = CASES[name]["statsmodels"][0]["vif"][1:]
    np.testing.assert_allclose(found[1:], recorded, rtol=1e-7 if name == "longley" else 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_variance_inflation_is_by_the_r_squared_of_each_term_on_the_others(name: str) -> None:
    case = Case.of(name)
    design = case.solution.design
    features = design.features.shape[1]
    found = collinearity(case.solution, case.terms).variance_inflation[-features:]
    for j in range(features):
        others = Design(np.delete(design.features, j, axis=1), design.intercept, weights=design.weights)
        if others.columns == 0:
            continue
        y = design.features[:, [j]]
        terms = tuple(str(k) for k in range(others.columns))
        answer = infer(least_squares(others, y), y, Inference(), terms, ("x",), design.intercept, None, False)
        assert found[j] == pytest.approx(1.0 / (1.0 - answer.summary[0].r_squared), rel=1e-9)


@pytest.mark.parametrize("name", WITH_GRETL)
def test_condition_indices_and_proportions_are_as_of_gretl(name: str) -> None:
    case, recorded = Case.of(name), CASES[name]["gretl"]
    found = collinearity(case.solution, case.terms)
    # gretl goes through the inverse of the covariance, and loses half the digits.
    tolerance = 1e-4 if name == "longley" else 1e-9
    np.testing.assert_allclose(found.condition_indices, recorded["condition_indices"], rtol=tolerance)
    np.testing.assert_allclose(found.variance_proportions, recorded["variance_proportions"], atol=tolerance)
    assert found.terms == case.terms


def test_weights_count_as_rows_would() -> None:
    stream = np.random.default_rng(3)
    x, y = stream.normal(5.0, 1.0, size=(9, 2)), stream.normal(size=(9, 1))
    times = np.array([1, 2, 3, 0, 1, 1, 4, 2, 1])
    weighted = least_squares(Design(x, weights=times.astype(np.float64)), y)
    repeated = least_squares(Design(np.repeat(x, times, axis=0)), np.repeat(y, times, axis=0))
    one, other = (collinearity(solution, ("1", "a", "b")) for solution in (weighted, repeated))
    np.testing.assert_allclose(one.variance_inflation, other.variance_inflation, rtol=1e-12)
    np.testing.assert_allclose(one.condition_indices, other.condition_indices, rtol=1e-12)
    np.testing.assert_allclose(one.variance_proportions, other.variance_proportions, atol=1e-12)


def test_units_do_not_matter() -> None:
    stream = np.random.default_rng(4)
    x, y = stream.normal(3.0, 1.0, size=(30, 3)), stream.normal(size=(30, 1))
    near, far = (
        collinearity(least_squares(Design(x * units), y), ("1", "a", "b", "c"))
        for units in (np.ones(3), np.array([2.0**-900, 1.0, 2.0**900]))
    )
    np.testing.assert_allclose(near.variance_inflation, far.variance_inflation, rtol=1e-12)
    np.testing.assert_allclose(near.condition_indices, far.condition_indices, rtol=1e-12)
    np.testing.assert_allclose(near.variance_proportions, far.variance_proportions, atol=1e-12)


def test_a_mean_that_dwarfs_the_spread_costs_no_digits() -> None:
    stream = np.random.default_rng(5)
    x, y = np.round(stream.normal(size=(40, 2)), 3), stream.normal(size=(40, 1))
    x[:, 1] += x[:, 0]
    # Multiples of 2^-10 stay exact.
    x = np.round(x * 1024.0) / 1024.0
    near, far = (collinearity(least_squares(Design(x + s), y), ("1", "a", "b")) for s in (0.0, 2.0**30))
    np.testing.assert_allclose(near.variance_inflation, far.variance_inflation, rtol=1e-12)


def test_a_single_column_is_explained_by_nothing() -> None:
    x, y = np.arange(5.0)[:, None], np.ones((5, 1))
    found = collinearity(least_squares(Design(x, intercept=False), y), ("x",))
    assert found.variance_inflation == (1.0,)
    assert found.condition_indices == (1.0,)
    assert found.variance_proportions == ((1.0,),)


def test_short_rank() -> None:
    """x3 = x1 + x2 has no variance to inflate; the intercept keeps its proportions."""
    stream = np.random.default_rng(6)
    x, y = np.round(stream.normal(size=(20, 2)), 2), stream.normal(size=(20, 1))
    solution = least_squares(Design(np.column_stack([x * 64.0, (x * 64.0).sum(axis=1)])), y)
    found = collinearity(solution, ("1", "x1", "x2", "x3"))
    assert np.isnan(found.variance_inflation).all()
    assert np.isnan(found.condition_indices).tolist() == [False, False, False, True]
    proportions = np.array(found.variance_proportions)
    assert np.isnan(proportions[:, 1:]).all()
    assert proportions[:, 0].sum() == pytest.approx(1.0)
