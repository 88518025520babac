from fractions import Fraction

import numpy as np
import pytest

from service.fitting.reference.double_double import residual, transposed_product, two_product, two_sum

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_transformations_lose_nothing(seed: int) -> None:
    a, b = (float(v) for v in np.random.default_rng(seed).normal(size=2) * 10.0 ** np.array([8, -8]))
    high, low = two_sum(a, b)
    assert Fraction(high) + Fraction(low) == Fraction(a) + Fraction(b)
    high, low = two_product(a, b)
    assert Fraction(high) + Fraction(low) == Fraction(a) * Fraction(b)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_residual_that_cancels_keeps_its_digits(seed: int) -> None:
    stream = np.random.default_rng(seed)
    a, x = stream.normal(size=(7, 3)), stream.normal(size=3)
    x_low, r_low = x * 1e-17, stream.normal(size=7) * 1e-25
    r = stream.normal(size=7) * 1e-9
    b = a @ x
    exact = [
        Fraction(b[i])
        - Fraction(r[i])
        - Fraction(r_low[i])
        - sum(Fraction(a[i, j]) * (Fraction(x[j]) + Fraction(x_low[j])) for j in range(3))
        for i in range(7)
    ]
    np.testing.assert_allclose(residual(b, r, r_low, a, x, x_low), [float(v) for v in exact], rtol=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_product_that_cancels_keeps_its_digits(seed: int) -> None:
    stream = np.random.default_rng(seed)
    a = stream.normal(size=(50, 2))
    r = stream.normal(size=50)
    r -= a @ np.linalg.lstsq(a, r)[0]
    r_low = r * 1e-17
    exact = [
        sum((Fraction(a[i, j]) * (Fraction(r[i]) + Fraction(r_low[i])) for i in range(50)), Fraction(0))
        for j in range(2)
    ]
    np.testing.assert_allclose(transposed_product(a, r, r_low), [float(v) for v in exact], rtol=1e-12)
