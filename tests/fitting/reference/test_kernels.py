"""Both implementations of the three loops, against rational arithmetic."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.reference.compiled import COMPILED
from service.fitting.reference.double_double import Pair
from service.fitting.reference.kernels import PLAIN, Block, Kernels, zeros

ROWS, FIRST, COUNT, COLUMNS, TARGETS = 700, 100, 530, 3, 2
NEGLIGIBLE = Fraction(2) ** -93

pytestmark = [
    pytest.mark.parametrize("kernels", [PLAIN, COMPILED], ids=["plain", "compiled"]),
    pytest.mark.parametrize("exact_columns", [True, False]),
]

Numbers = Callable[[int, int], Fraction]


def _block(exact_columns: bool, ones: bool) -> Block:
    stream = np.random.default_rng(1)
    columns = np.asfortranarray(stream.normal(size=(ROWS, COLUMNS)))
    low = None if exact_columns else np.asfortranarray(columns * 1e-17)
    return Block(columns, low, FIRST, COUNT, ones)


def _pair(seed: int, rows: int, columns: int) -> Pair:
    stream = np.random.default_rng(seed)
    return Pair(*(np.asfortranarray(stream.normal(size=(rows, columns)) * size) for size in (1.0, 1e-17)))


def _number(pair: Pair, i: int, j: int) -> Fraction:
    return Fraction(float(pair.high[i, j])) + Fraction(float(pair.low[i, j]))


def _entry(block: Block, i: int, j: int) -> Fraction:
    if block.ones and j == 0:
        return Fraction(1)
    low = np.zeros_like(block.columns) if block.low is None else block.low
    return _number(Pair(block.columns, low), block.first + i, j - int(block.ones))


def _copy(pair: Pair) -> Pair:
    return Pair(*(half.copy(order="F") for half in pair))


@pytest.mark.parametrize("ones", [True, False])
def test_subtracting_a_product(kernels: Kernels, exact_columns: bool, ones: bool) -> None:
    block = _block(exact_columns, ones)
    m = COLUMNS + int(ones)
    x, start = _pair(2, m, TARGETS), _pair(3, COUNT, TARGETS)
    left = _copy(start)
    kernels.subtract_product(block, x, left)
    for i in range(COUNT):
        for k in range(TARGETS):
            truth = _number(start, i, k) - sum(_entry(block, i, j) * _number(x, j, k) for j in range(m))
            assert abs(_number(left, i, k) - truth) < NEGLIGIBLE


@pytest.mark.parametrize("ones", [True, False])
def test_adding_a_transposed_product(kernels: Kernels, exact_columns: bool, ones: bool) -> None:
    block = _block(exact_columns, ones)
    m = COLUMNS + int(ones)
    r, start = _pair(4, COUNT, TARGETS), _pair(5, m, TARGETS)
    total = _copy(start)
    kernels.add_transposed_product(block, r, total)
    for j in range(m):
        for k in range(TARGETS):
            truth = _number(start, j, k) + sum(_entry(block, i, j) * _number(r, i, k) for i in range(COUNT))
            assert abs(_number(total, j, k) - truth) < NEGLIGIBLE


def test_adding_a_gram_matrix(kernels: Kernels, exact_columns: bool) -> None:
    block = _block(exact_columns, ones=False)
    total = zeros(COLUMNS, COLUMNS)
    kernels.add_gram(block, total)
    kernels.add_gram(block, total)
    for j in range(COLUMNS):
        for i in range(j + 1):
            truth = 2 * sum(_entry(block, row, i) * _entry(block, row, j) for row in range(COUNT))
            assert abs(_number(total, i, j) - truth) < NEGLIGIBLE


def test_what_leaves_float64_is_not_finite_and_raises_nothing(kernels: Kernels, exact_columns: bool) -> None:
    block = _block(exact_columns, ones=True)
    r: FloatArray = np.full((COUNT, 1), np.inf, order="F")
    total = zeros(COLUMNS + 1, 1)
    with np.errstate(all="ignore"):
        kernels.add_transposed_product(block, Pair.of(r), total)
    assert not np.isfinite(total.high).all()
