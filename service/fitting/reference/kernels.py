"""The three loops over rows that are carried in doubled precision.

Two implementations: `PLAIN` in NumPy, which needs nothing and is quick on small problems, and
`service.fitting.reference.compiled.COMPILED` in Numba, which is quick on large ones and costs a process 50 MB.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.reference.double_double import Pair, two_product, two_sum


@dataclass(frozen=True, eq=False)
class Block:
    """Rows first .. first + count - 1 of a design.

    Attributes
    ----------
    columns
        (n, k) of which these rows are meant, Fortran-ordered: whole, because compiled loops run down whole columns
        much faster than down the columns of a slice.
    low
        (n, k) low-order halves of the columns; None where they are exact.
    ones
        Whether a column of ones stands before them, so that m = k + 1.
    """

    columns: FloatArray
    low: FloatArray | None
    first: int
    count: int
    ones: bool = False

    @property
    def high_rows(self) -> FloatArray:
        """(b, k)."""
        return self.columns[self.first : self.first + self.count]

    @property
    def low_rows(self) -> FloatArray | None:
        """(b, k), or None where they are 0."""
        return None if self.low is None else self.low[self.first : self.first + self.count]


class Kernels(Protocol):
    """Each works on a `Block` of rows, and in place on Fortran-ordered pairs.

    `release_lock`: whether they run without Python's lock, so that threads can share the rows.
    """

    release_lock: bool

    def subtract_product(self, block: Block, x: Pair, r: Pair) -> None:
        """r (b, q) -= A x for x (m, q)."""

    def add_transposed_product(self, block: Block, r: Pair, g: Pair) -> None:
        """g (m, q) += A' r for r (b, q)."""

    def add_gram(self, block: Block, gram: Pair) -> None:
        """gram (k, k) += a'a of the block's columns, the upper triangle only; for blocks without `ones`."""


#: So many terms are summed by `math.fsum`, which is exact; more are added pairwise first, which is quicker.
_MOST_EXACT_ROWS = 96


class PlainKernels:
    """In NumPy."""

    release_lock = False

    def subtract_product(self, block: Block, x: Pair, r: Pair) -> None:
        """See `Kernels`."""
        ones, a, a_low = block.ones, block.high_rows, block.low_rows
        for k in range(r.high.shape[1]):
            total, error = r.high[:, k], r.low[:, k].copy()
            if ones:
                total, lost = two_sum(total, -x.high[0, k])
                error += lost - x.low[0, k]
            weights, low_weights = x.high[int(ones) :, k], x.low[int(ones) :, k]
            products, errors = two_product(a, -weights)
            errors -= a * low_weights
            if a_low is not None:
                errors -= a_low * weights
            for column in products.T:
                total, lost = two_sum(total, column)
                error += lost
            r.high[:, k], r.low[:, k] = two_sum(total, error + errors.sum(axis=1))

    def add_transposed_product(self, block: Block, r: Pair, g: Pair) -> None:
        """See `Kernels`."""
        ones, a, a_low = block.ones, block.high_rows, block.low_rows
        for k in range(r.high.shape[1]):
            high, low = r.high[:, k, None], r.low[:, k, None]
            if ones:
                _accumulate(g, (0, k), high[:, 0], low[:, 0])
            products, errors = two_product(a, high)
            errors += a * low
            if a_low is not None:
                errors += a_low * high
            products, errors = _folded(products, errors)
            for j in range(a.shape[1]):
                _accumulate(g, (j + int(ones), k), products[:, j], errors[:, j])

    def add_gram(self, block: Block, gram: Pair) -> None:
        """See `Kernels`."""
        a, a_low = block.high_rows, block.low_rows
        for j in range(a.shape[1]):
            column = a[:, j, None]
            products, errors = two_product(a[:, : j + 1], column)
            if a_low is not None:
                errors += a[:, : j + 1] * a_low[:, j, None] + a_low[:, : j + 1] * column
            products, errors = _folded(products, errors)
            for i in range(j + 1):
                _accumulate(gram, (i, j), products[:, i], errors[:, i])


def _folded(products: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same sums of columns, from fewer rows: the lower half is added to the upper, with what rounding takes."""
    while (rows := len(products)) > _MOST_EXACT_ROWS:
        half = (rows + 1) // 2
        upper, carried = products[:half].copy(), errors[:half].copy()
        upper[: rows - half], lost = two_sum(products[: rows - half], products[half:])
        carried[: rows - half] += errors[half:] + lost
        products, errors = upper, carried
    return products, errors


def _accumulate(total: Pair, place: tuple[int, int], products: FloatArray, errors: FloatArray) -> None:
    terms = products.tolist()
    terms += errors.tolist()
    terms += (float(total.high[place]), float(total.low[place]))
    total.high[place], total.low[place] = exact_sum(terms)


def exact_sum(terms: list[float]) -> tuple[float, float]:
    """The sum as a pair, rounded from the exact one; NaN where it leaves float64 on the way."""
    high = _fsum(terms)
    terms.append(-high)
    return high, _fsum(terms)


def _fsum(terms: list[float]) -> float:
    # fsum raises where IEEE arithmetic gives infinity or NaN, which here are data.
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        return math.nan


PLAIN: Kernels = PlainKernels()


def zeros(rows: int, columns: int) -> Pair:
    """A pair of zeros to accumulate into."""
    return Pair(np.zeros((rows, columns), order="F"), np.zeros((rows, columns), order="F"))
