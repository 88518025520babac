"""Sums and products carried in twice the working precision, by error-free transformations.

`two_sum` is Knuth's, `two_product` Dekker's with Veltkamp's splitting, and the dot products accumulate their errors
as in Ogita, Rump and Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26 (2005), algorithm 5.3 (Dot2):
the result is as if computed in about 106 bits and rounded once. Operands must stay below 2^995, which equilibration
sees to.
"""

import numpy as np
from numba import njit

from service.fitting.arrays import FloatArray

_SPLIT = 134217729.0  # 2^27 + 1


@njit(cache=True)
def two_sum(a: float, b: float) -> tuple[float, float]:
    """(s, e) with s = fl(a + b) and s + e = a + b exactly."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


@njit(cache=True)
def two_product(a: float, b: float) -> tuple[float, float]:
    """(p, e) with p = fl(a * b) and p + e = a * b exactly."""
    p = a * b
    c = _SPLIT * a
    a_high = c - (c - a)
    a_low = a - a_high
    c = _SPLIT * b
    b_high = c - (c - b)
    b_low = b - b_high
    return p, a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low)


@njit(cache=True)
def residual(
    b: FloatArray, r: FloatArray, r_low: FloatArray, a: FloatArray, x: FloatArray, x_low: FloatArray
) -> FloatArray:
    """b - (r + r_low) - a (x + x_low), (n,), for a (n, m) and x, x_low (m,)."""
    n, m = a.shape
    out = np.empty(n)
    for i in range(n):
        total, error = two_sum(b[i], -r[i])
        error -= r_low[i]
        for j in range(m):
            product, low = two_product(a[i, j], -x[j])
            total, lost = two_sum(total, product)
            error += lost + (low - a[i, j] * x_low[j])
        out[i] = total + error
    return out


@njit(cache=True)
def transposed_product(a: FloatArray, r: FloatArray, r_low: FloatArray) -> FloatArray:
    """a'(r + r_low), (m,), for a (n, m) and r, r_low (n,)."""
    n, m = a.shape
    total = np.zeros(m)
    error = np.zeros(m)
    for i in range(n):
        for j in range(m):
            product, low = two_product(a[i, j], r[i])
            total[j], lost = two_sum(total[j], product)
            error[j] += lost + (low + a[i, j] * r_low[i])
    return total + error
