"""`Kernels` compiled by Numba: vectorised down the columns, products by fused multiply-add, the GIL released.

Everything comes transposed, so that a column is a contiguous slice: only then are the inner loops vectorised. Sums over
rows run in `_LANES` lanes side by side and are folded at the end.

Importing this module costs a process about 50 MB: only those import it that fit large problems.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from service.fitting.arrays import FloatArray
from service.fitting.reference.double_double import Pair
from service.fitting.reference.kernels import Block, Kernels

#: Rows that are gone through at a time, so that accumulators stay in the first-level cache.
_LANES = 256


@intrinsic
def fma(_: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - Numba reads the signature
    """fl(a * b + c), rounded once: with c = -fl(a * b), the error of the product."""
    signature = types.float64(types.float64, types.float64, types.float64)

    def generate(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return signature, generate


@njit(cache=True, nogil=True)
def _add_constant(value: float, low: float, total: FloatArray, error: FloatArray, count: int) -> None:
    """(total, error) += value + low, lane by lane."""
    for i in range(count):
        s = total[i] + value
        z = s - total[i]
        error[i] += ((total[i] - (s - z)) + (value - z)) + low
        total[i] = s


@njit(cache=True, nogil=True)
def _add_multiple(v: FloatArray, w: float, w_low: float, total: FloatArray, error: FloatArray) -> None:
    """(total, error) += v (w + w_low), lane by lane."""
    for i in range(len(v)):
        p = v[i] * w
        s = total[i] + p
        z = s - total[i]
        error[i] += ((total[i] - (s - z)) + (p - z)) + (fma(v[i], w, -p) + v[i] * w_low)
        total[i] = s


@njit(cache=True, nogil=True)
def _add_products(v: FloatArray, w: FloatArray, total: FloatArray, error: FloatArray) -> None:
    """(total, error) += v w, lane by lane."""
    for i in range(len(v)):
        p = v[i] * w[i]
        s = total[i] + p
        z = s - total[i]
        error[i] += ((total[i] - (s - z)) + (p - z)) + fma(v[i], w[i], -p)
        total[i] = s


@njit(cache=True, nogil=True)
def _add_numbers(v: FloatArray, total: FloatArray, error: FloatArray) -> None:
    """(total, error) += v, lane by lane."""
    for i in range(len(v)):
        s = total[i] + v[i]
        z = s - total[i]
        error[i] += (total[i] - (s - z)) + (v[i] - z)
        total[i] = s


@njit(cache=True, nogil=True)
def _add_small(v: FloatArray, w: FloatArray, error: FloatArray) -> None:
    """Error += v w, lane by lane, for products that are rounding already."""
    for i in range(len(v)):
        error[i] += v[i] * w[i]


@njit(cache=True, nogil=True)
def _fold(total: FloatArray, error: FloatArray, g: FloatArray, g_low: FloatArray, k: int, j: int) -> None:
    """Add the lanes to one number of a pair, halving them until one is left."""
    half = _LANES // 2
    while half > 0:
        for i in range(half):
            s = total[i] + total[half + i]
            z = s - total[i]
            error[i] += error[half + i] + ((total[i] - (s - z)) + (total[half + i] - z))
            total[i] = s
        half //= 2
    s = g[k, j] + total[0]
    z = s - g[k, j]
    low = g_low[k, j] + error[0] + ((g[k, j] - (s - z)) + (total[0] - z))
    g[k, j] = s + low
    z = g[k, j] - s
    g_low[k, j] = (s - (g[k, j] - z)) + (low - z)


@njit(cache=True, nogil=True)
def _subtract_product(
    ones: bool,
    a: FloatArray,
    a_low: FloatArray,
    begin: int,
    x: FloatArray,
    x_low: FloatArray,
    r: FloatArray,
    r_low: FloatArray,
) -> None:
    columns, rows = a.shape[0], r.shape[1]
    total, error = np.empty(_LANES), np.empty(_LANES)
    small = np.empty(_LANES)
    shift = 1 if ones else 0
    for k in range(r.shape[0]):
        for first in range(0, rows, _LANES):
            count = min(_LANES, rows - first)
            at = begin + first
            total[:count], error[:count] = r[k, first : first + count], r_low[k, first : first + count]
            if ones:
                _add_constant(-x[k, 0], -x_low[k, 0], total, error, count)
            for j in range(columns):
                w = -x[k, shift + j]
                _add_multiple(a[j, at : at + count], w, -x_low[k, shift + j], total, error)
                if len(a_low) > 0:
                    small[:count] = w
                    _add_small(a_low[j, at : at + count], small, error)
            for i in range(count):
                s = total[i] + error[i]
                z = s - total[i]
                r_low[k, first + i] = (total[i] - (s - z)) + (error[i] - z)
                r[k, first + i] = s


@njit(cache=True, nogil=True)
def _add_transposed_product(
    ones: bool,
    a: FloatArray,
    a_low: FloatArray,
    begin: int,
    r: FloatArray,
    r_low: FloatArray,
    g: FloatArray,
    g_low: FloatArray,
) -> None:
    columns, rows = a.shape[0], r.shape[1]
    total, error = np.empty(_LANES), np.empty(_LANES)
    shift = 1 if ones else 0
    for k in range(r.shape[0]):
        if ones:
            total[:], error[:] = 0.0, 0.0
            for first in range(0, rows, _LANES):
                last = min(first + _LANES, rows)
                _add_numbers(r[k, first:last], total, error)
                for i in range(last - first):
                    error[i] += r_low[k, first + i]
            _fold(total, error, g, g_low, k, 0)
        for j in range(columns):
            total[:], error[:] = 0.0, 0.0
            for first in range(0, rows, _LANES):
                last = min(first + _LANES, rows)
                column = a[j, begin + first : begin + last]
                _add_products(column, r[k, first:last], total, error)
                _add_small(column, r_low[k, first:last], error)
                if len(a_low) > 0:
                    _add_small(a_low[j, begin + first : begin + last], r[k, first:last], error)
            _fold(total, error, g, g_low, k, shift + j)


@njit(cache=True, nogil=True)
def _add_gram(a: FloatArray, a_low: FloatArray, begin: int, end: int, g: FloatArray, g_low: FloatArray) -> None:
    total, error = np.empty(_LANES), np.empty(_LANES)
    for k in range(len(a)):
        for j in range(k + 1):
            total[:], error[:] = 0.0, 0.0
            for first in range(begin, end, _LANES):
                last = min(first + _LANES, end)
                _add_products(a[j, first:last], a[k, first:last], total, error)
                if len(a_low) > 0:
                    _add_small(a[j, first:last], a_low[k, first:last], error)
                    _add_small(a_low[j, first:last], a[k, first:last], error)
            _fold(total, error, g, g_low, k, j)


_EXACT = np.empty((0, 0))


class CompiledKernels:
    """See the module's first lines."""

    release_lock = True

    def subtract_product(self, block: Block, x: Pair, r: Pair) -> None:
        """See `Kernels`."""
        a, a_low = _transposed(block)
        _subtract_product(block.ones, a, a_low, block.first, *_rows(x), *_rows(r))

    def add_transposed_product(self, block: Block, r: Pair, g: Pair) -> None:
        """See `Kernels`."""
        a, a_low = _transposed(block)
        _add_transposed_product(block.ones, a, a_low, block.first, *_rows(r), *_rows(g))

    def add_gram(self, block: Block, gram: Pair) -> None:
        """See `Kernels`."""
        a, a_low = _transposed(block)
        _add_gram(a, a_low, block.first, block.first + block.count, *_rows(gram))


def _transposed(block: Block) -> tuple[FloatArray, FloatArray]:
    return block.columns.T, _EXACT if block.low is None else block.low.T


def _rows(pair: Pair) -> tuple[FloatArray, FloatArray]:
    """The transposes; those of Fortran-ordered pairs are views, and written through."""
    return np.ascontiguousarray(pair.high.T), np.ascontiguousarray(pair.low.T)


COMPILED: Kernels = CompiledKernels()
