"""Sums and products carried in twice the working precision, by error-free transformations.

`two_sum` is Knuth's, `two_product` Dekker's with Veltkamp's splitting; sums accumulate their errors as in Ogita, Rump
and Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26 (2005), algorithm 5.3 (Dot2): the result is as if
computed in about 106 bits. A *pair* is an unevaluated sum high + low. All of it works elementwise on arrays, and on
scalars where Numba compiles it. Operands must stay below 2^995, which equilibration sees to.
"""

from typing import NamedTuple

import numpy as np

from service.fitting.arrays import FloatArray

_SPLIT = 134217729.0  # 2^27 + 1


class Pair(NamedTuple):
    """Numbers as unevaluated sums high + low, elementwise."""

    high: FloatArray
    low: FloatArray

    @property
    def rounded(self) -> FloatArray:
        """To float64."""
        total: FloatArray = self.high + self.low
        return total

    @classmethod
    def of(cls, values: FloatArray) -> "Pair":
        """Numbers that are exact as they stand."""
        return cls(values, np.zeros_like(values))


def two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(s, e) with s = fl(a + b) and s + e = a + b exactly."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


def two_product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(p, e) with p = fl(a * b) and p + e = a * b exactly."""
    p = a * b
    c = _SPLIT * a
    a_high = c - (c - a)
    a_low = a - a_high
    c = _SPLIT * b
    b_high = c - (c - b)
    b_low = b - b_high
    return p, a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low)


def add(pair: Pair, other: FloatArray) -> Pair:
    """pair + other, normalised."""
    total, error = two_sum(pair.high, other)
    return normalised(total, pair.low + error)


def normalised(high: FloatArray, low: FloatArray) -> Pair:
    """The pair whose high part is the rounded sum; |low| <= |high| is not asked for."""
    return Pair(*two_sum(high, low))


def multiply(left: Pair, right: Pair) -> Pair:
    """left * right to about 104 bits."""
    product, error = two_product(left.high, right.high)
    return normalised(product, error + (left.high * right.low + left.low * right.high))


def square_root(values: FloatArray) -> Pair:
    """sqrt(values) for values >= 0, by one Newton step on the rounded root."""
    root = np.sqrt(values)
    square, error = two_product(root, root)
    return normalised(root, np.where(root > 0.0, ((values - square) - error) / (2.0 * root), 0.0))
