from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fitting.arrays import FloatArray
from service.fitting.inference.whitening import PLAIN_CONDITION, Whitening
from service.fitting.reference.compiled import COMPILED
from service.fitting.reference.design import Design
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import least_squares
from tests.fitting.inference.exactly import quadratic_forms
from tests.fitting.inference.recorded import NIST, nist_problem
from tests.fitting.reference.exactly import relative_error, solve_exactly


def _worst(found: FloatArray, truths: list[Fraction]) -> float:
    return max(relative_error(value, truth) for value, truth in zip(found, truths, strict=True))


def _beyond(features: FloatArray) -> FloatArray:
    """Rows inside the range of the features and on both sides of it."""
    low, high = features.min(axis=0), features.max(axis=0)
    return np.asarray(low + np.linspace(-0.1, 1.3, 6)[:, None] * (high - low))


@pytest.mark.parametrize("name", NIST)
def test_nothing_is_lost_on_nist_sets(name: str) -> None:
    """Beside rational arithmetic; Filip's polynomial of degree 10 has an equilibrated condition of 5e9."""
    design, y = nist_problem(name)
    solution, exact = least_squares(design, y), solve_exactly(design, y[:, 0])
    whitening = Whitening.of(solution, PLAIN)
    new = _beyond(design.features)
    forms = quadratic_forms(exact, Design(new, design.intercept, design.degree))
    assert _worst(whitening.leverage(whitening.images(new)), forms) < 1e-12
    assert _worst(whitening.row_leverage, exact.leverages) < 1e-12
    variances = [exact.inverse[j][j] for j in range(design.columns)]
    assert _worst(whitening.unit_errors() ** 2, variances) < 1e-12


@pytest.mark.parametrize("kernels", [PLAIN, COMPILED])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(0.0, 13.0), weighted=st.booleans(), penalised=st.booleans())
def test_nothing_is_lost_whatever_the_condition(
    kernels: Kernels, seed: int, exponent: float, weighted: bool, penalised: bool
) -> None:
    stream = np.random.default_rng(seed)
    u, _ = np.linalg.qr(stream.normal(size=(9, 3)))
    v, _ = np.linalg.qr(stream.normal(size=(3, 3)))
    weights = stream.integers(1, 9, size=9).astype(np.float64) if weighted else None
    penalties = 10.0 ** stream.uniform(-6.0, 0.0, 3) if penalised else None
    design = Design(u * np.logspace(0.0, -exponent, 3) @ v.T, intercept=False, weights=weights, penalties=penalties)
    y = stream.normal(size=9)
    solution, exact = least_squares(design, y[:, None], kernels), solve_exactly(design, y)
    whitening = Whitening.of(solution, kernels)
    tolerance = 1e-13 if whitening.doubled is not None else 1e-15 * PLAIN_CONDITION
    assert _worst(whitening.row_leverage, exact.leverages) < tolerance
    new = stream.normal(size=(3, 3))
    forms = quadratic_forms(exact, Design(new, intercept=False))
    assert _worst(whitening.leverage(whitening.images(new)), forms) < tolerance


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(0, 4), weighted=st.booleans())
def test_hat_values_sum_to_the_rank(seed: int, rank: int, weighted: bool) -> None:
    stream = np.random.default_rng(seed)
    x = stream.integers(-9, 9, size=(11, rank)) @ stream.integers(-3, 4, size=(rank, 5)) / 8.0
    weights = stream.integers(0, 5, size=11).astype(np.float64) if weighted else None
    if weights is not None:
        weights[3] = 1.0
    solution = least_squares(Design(x, weights=weights), stream.normal(size=(11, 1)))
    leverage = Whitening.of(solution, PLAIN).row_leverage
    assert leverage.sum() == pytest.approx(solution.rank, abs=1e-9)
    assert (leverage >= 0.0).all()
    assert (leverage <= 1.0).all()
    if weights is not None:
        assert (leverage[weights == 0.0] == 0.0).all()


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1.0, 1e160])
def test_units_do_not_matter(unit: float) -> None:
    """The squares of three of these units leave float64."""
    x = np.arange(12.0)[:, None] * 0.25
    y = np.cos(np.arange(12.0))[:, None]
    near, far = (least_squares(Design(x * scale, degree=2), y) for scale in (1.0, unit))
    np.testing.assert_allclose(
        Whitening.of(far, PLAIN).row_leverage, Whitening.of(near, PLAIN).row_leverage, rtol=1e-12
    )
