"""Passes over the rows of a problem in doubled precision, shared out among threads where the kernels allow it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.reference.columns import Columns, DoubledColumns
from service.fitting.reference.double_double import Pair, normalised, two_sum
from service.fitting.reference.gram_factor import mirrored
from service.fitting.reference.kernels import Kernels, zeros
from service.fitting.threads import one_thread_each, threads

T = TypeVar("T")

#: Numbers in a pass below which starting threads costs more than they save.
_LEAST_SHARE = 200_000


def residuals_and_gradient(columns: Columns, kernels: Kernels, parameters: Pair) -> tuple[FloatArray, Pair]:
    """R = Z - B V (n, q), rounded, and B'R (m, q) as a pair, in one pass over the rows."""
    residuals = np.empty_like(columns.targets.high, order="F")

    def work(first: int, last: int) -> Pair:
        gradient = zeros(*parameters.high.shape)
        for block in columns.blocks(first, last):
            part = slice(block.first, block.first + block.count)
            left = _copied(columns.targets, part)
            kernels.subtract_product(block, parameters, left)
            kernels.add_transposed_product(block, left, gradient)
            residuals[part] = left.high
        return gradient

    return residuals, _sum(shared(columns, kernels, work))


def residuals_only(columns: Columns, kernels: Kernels, parameters: Pair) -> FloatArray:
    """R = Z - B V (n, q), rounded."""
    residuals = np.empty_like(columns.targets.high, order="F")

    def work(first: int, last: int) -> None:
        for block in columns.blocks(first, last):
            part = slice(block.first, block.first + block.count)
            left = _copied(columns.targets, part)
            kernels.subtract_product(block, parameters, left)
            residuals[part] = left.high

    shared(columns, kernels, work)
    return residuals


def gram(columns: DoubledColumns, kernels: Kernels) -> tuple[Pair, Pair]:
    """B'B (m, m) and B'Z (m, q) as pairs."""
    size, targets = columns.columns.shape[1], columns.targets.high.shape[1]

    def work(first: int, last: int) -> tuple[Pair, Pair]:
        square, right = zeros(size, size), zeros(size, targets)
        for block in columns.blocks(first, last):
            part = slice(block.first, block.first + block.count)
            kernels.add_gram(block, square)
            kernels.add_transposed_product(block, _copied(columns.targets, part), right)
        return square, right

    squares, rights = zip(*shared(columns, kernels, work), strict=True)
    square = Pair(*(np.asfortranarray(mirrored(half)) for half in _sum(squares)))
    return square, _sum(rights)


def shared(columns: Columns, kernels: Kernels, work: Callable[[int, int], T]) -> list[T]:
    """What `work` makes of each share of the rows, first .. last - 1."""
    rows = len(columns.targets.high)
    numbers = rows * len(columns.exponents)
    shares = min(threads(), numbers // _LEAST_SHARE) if kernels.release_lock else 1
    if shares <= 1:
        return [work(0, rows)]
    bounds = [rows * share // shares for share in range(shares + 1)]
    # On tall matrices, BLAS with two threads is no faster than with one: two of our own are.
    with one_thread_each(), ThreadPoolExecutor(shares) as pool:
        return list(pool.map(work, bounds[:-1], bounds[1:]))


def _copied(pair: Pair, part: slice) -> Pair:
    return Pair(*(half[part].copy(order="F") for half in pair))


def _sum(parts: "list[Pair] | tuple[Pair, ...]") -> Pair:
    total = parts[0]
    for part in parts[1:]:
        high, error = two_sum(total.high, part.high)
        total = normalised(high, error + total.low + part.low)
    return total
