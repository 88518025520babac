"""`Kernels` compiled by Numba: vectorised down the columns, products by fused multiply-add, the GIL released.

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
def _fma(_: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - Numba reads the signature
    """fl(a * b + c), rounded once: with c = -fl(a * b), the error of the product."""
    signature = types.float64(types.float64, types.float64, types.float64)

    def generate(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return signature, generate


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
    rows, columns = len(r), a.shape[1]
    inexact = a_low.shape[0] > 0
    total, error = np.empty(_LANES), np.empty(_LANES)
    first_weight = 1 if ones else 0
    for k in range(r.shape[1]):
        for first in range(0, rows, _LANES):
            count = min(_LANES, rows - first)
            for i in range(count):
                total[i], error[i] = r[first + i, k], r_low[first + i, k]
            if ones:
                w, w_low = -x[0, k], x_low[0, k]
                for i in range(count):
                    s = total[i] + w
                    z = s - total[i]
                    error[i] += ((total[i] - (s - z)) + (w - z)) - w_low
                    total[i] = s
            for j in range(columns):
                w, w_low = -x[first_weight + j, k], x_low[first_weight + j, k]
                for i in range(count):
                    v = a[begin + first + i, j]
                    p = v * w
                    s = total[i] + p
                    z = s - total[i]
                    error[i] += ((total[i] - (s - z)) + (p - z)) + (_fma(v, w, -p) - v * w_low)
                    total[i] = s
                if inexact:
                    for i in range(count):
                        error[i] += a_low[begin + first + i, j] * w
            for i in range(count):
                s = total[i] + error[i]
                z = s - total[i]
                r_low[first + i, k] = (total[i] - (s - z)) + (error[i] - z)
                r[first + i, k] = s


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
    rows, columns = len(r), a.shape[1]
    inexact = a_low.shape[0] > 0
    total, error = np.empty(_LANES), np.empty(_LANES)
    shift = 1 if ones else 0
    for k in range(r.shape[1]):
        if ones:
            total[:], error[:] = 0.0, 0.0
            for first in range(0, rows, _LANES):
                for i in range(min(_LANES, rows - first)):
                    p = r[first + i, k]
                    s = total[i] + p
                    z = s - total[i]
                    error[i] += ((total[i] - (s - z)) + (p - z)) + r_low[first + i, k]
                    total[i] = s
            _fold(total, error, g, g_low, 0, k)
        for j in range(columns):
            total[:], error[:] = 0.0, 0.0
            for first in range(0, rows, _LANES):
                count = min(_LANES, rows - first)
                for i in range(count):
                    v, w = a[begin + first + i, j], r[first + i, k]
                    p = v * w
                    s = total[i] + p
                    z = s - total[i]
                    error[i] += ((total[i] - (s - z)) + (p - z)) + (_fma(v, w, -p) + v * r_low[first + i, k])
                    total[i] = s
                if inexact:
                    for i in range(count):
                        error[i] += a_low[begin + first + i, j] * r[first + i, k]
            _fold(total, error, g, g_low, shift + j, k)


@njit(cache=True, nogil=True)
def _add_gram(a: FloatArray, a_low: FloatArray, begin: int, rows: int, g: FloatArray, g_low: FloatArray) -> None:
    columns = a.shape[1]
    inexact = a_low.shape[0] > 0
    total, error = np.empty(_LANES), np.empty(_LANES)
    for k in range(columns):
        for j in range(k + 1):
            total[:], error[:] = 0.0, 0.0
            for first in range(0, rows, _LANES):
                count = min(_LANES, rows - first)
                for i in range(count):
                    v, w = a[begin + first + i, j], a[begin + first + i, k]
                    p = v * w
                    s = total[i] + p
                    z = s - total[i]
                    error[i] += ((total[i] - (s - z)) + (p - z)) + _fma(v, w, -p)
                    total[i] = s
                if inexact:
                    for i in range(count):
                        error[i] += (
                            a[begin + first + i, j] * a_low[begin + first + i, k]
                            + a_low[begin + first + i, j] * a[begin + first + i, k]
                        )
            _fold(total, error, g, g_low, j, k)


@njit(cache=True, nogil=True)
def _fold(total: FloatArray, error: FloatArray, g: FloatArray, g_low: FloatArray, j: int, k: int) -> None:
    """Add the lanes to one number of a pair, halving them until one is left."""
    half = _LANES // 2
    while half > 0:
        for i in range(half):
            s = total[i] + total[half + i]
            z = s - total[i]
            error[i] += error[half + i] + ((total[i] - (s - z)) + (total[half + i] - z))
            total[i] = s
        half //= 2
    s = g[j, k] + total[0]
    z = s - g[j, k]
    low = g_low[j, k] + error[0] + ((g[j, k] - (s - z)) + (total[0] - z))
    g[j, k] = s + low
    z = g[j, k] - s
    g_low[j, k] = (s - (g[j, k] - z)) + (low - z)


_EXACT = np.empty((0, 0), order="F")


class CompiledKernels:
    """See the module's first lines."""

    release_lock = True

    def subtract_product(self, block: Block, x: Pair, r: Pair) -> None:
        """See `Kernels`."""
        _subtract_product(block.ones, block.columns, _low(block), block.first, *_columns(x), *r)

    def add_transposed_product(self, block: Block, r: Pair, g: Pair) -> None:
        """See `Kernels`."""
        _add_transposed_product(block.ones, block.columns, _low(block), block.first, *r, *g)

    def add_gram(self, block: Block, gram: Pair) -> None:
        """See `Kernels`."""
        _add_gram(block.columns, _low(block), block.first, block.count, *gram)


def _low(block: Block) -> FloatArray:
    return _EXACT if block.low is None else block.low


def _columns(pair: Pair) -> Pair:
    return Pair(np.asfortranarray(pair.high), np.asfortranarray(pair.low))


COMPILED: Kernels = CompiledKernels()
