from fractions import Fraction

import numpy as np
import pytest

from service.fitting.reference.double_double import Pair, add, multiply, square_root, two_product, two_sum

SEEDS = range(20)


def _exactly(pair: Pair) -> list[Fraction]:
    return [Fraction(float(high)) + Fraction(float(low)) for high, low in zip(pair.high, pair.low, strict=True)]


@pytest.mark.parametrize("seed", SEEDS)
def test_transformations_lose_nothing(seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 50)) * 10.0 ** np.array([[8], [-8]])
    for i, (total, product) in enumerate(
        zip(_exactly(Pair(*two_sum(a, b))), _exactly(Pair(*two_product(a, b))), strict=True)
    ):
        assert total == Fraction(float(a[i])) + Fraction(float(b[i]))
        assert product == Fraction(float(a[i])) * Fraction(float(b[i]))


@pytest.mark.parametrize("seed", SEEDS)
def test_pairs_keep_a_hundred_bits(seed: int) -> None:
    stream = np.random.default_rng(seed)
    left, right = (Pair(stream.normal(size=50), stream.normal(size=50) * 1e-17) for _ in range(2))
    other = stream.normal(size=50)
    products, totals = _exactly(multiply(left, right)), _exactly(add(left, other))
    for i, (one, two) in enumerate(zip(_exactly(left), _exactly(right), strict=True)):
        assert abs(products[i] - one * two) <= Fraction(2) ** -98
        assert abs(totals[i] - one - Fraction(float(other[i]))) <= Fraction(2) ** -98


@pytest.mark.parametrize("seed", SEEDS)
def test_square_roots(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(1e-3, 1e3, 50)
    for root, value in zip(_exactly(square_root(values)), values, strict=True):
        assert abs(root * root - Fraction(float(value))) <= Fraction(2) ** -98 * Fraction(float(value))
