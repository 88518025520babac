"""Householder QR with R's limited column pivoting.

R's `lm` solves by `dqrdc2`, its own variant of LINPACK's `dqrdc` (Dongarra, Bunch, Moler and Stewart, "LINPACK Users'
Guide", 1979, chapter 9), as documented in R's help page `qr`: columns stay in their order, but for those of which less
than `tol` of the length is left beside the columns before; these are moved to the end, one after the other as they are
met, and what precedes them is the rank. Lengths are brought up to date from the part that a reflection takes away, and
computed anew where a thousandth or less of them is left.
"""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.others.lengths import lengths

#: Of the squared length: below it the downdated length has lost too many digits.
COMPUTE_ANEW_BELOW = 1e-6


@dataclass(frozen=True, eq=False)
class LimitedPivotingQR:
    """A[:, columns] = Q R as far as the rank goes, with Q'Y.

    Attributes
    ----------
    columns
        (m,) the order of columns, those left out last.
    triangle
        (rank, rank), upper.
    projected
        (rank, q), the first rows of Q'Y.
    shares
        (m,) what part of its length was left of each column of A when it was looked at; NaN where it never was.
    """

    columns: IntArray
    triangle: FloatArray
    projected: FloatArray
    shares: FloatArray

    @property
    def rank(self) -> int:
        return len(self.triangle)


def factor(a: FloatArray, y: FloatArray, tolerance: float) -> LimitedPivotingQR:
    """Factor A (n, m) and carry Y (n, q) along; n >= 1, all finite."""
    n, m = a.shape
    # Reflections work on columns.
    work = np.array(np.hstack([a, y]), order="F")
    left = lengths(a)
    whole = np.where(left == 0.0, 1.0, left)
    columns, shares = np.arange(m), np.full(m, np.nan)
    end = m
    for j in range(min(n, m)):
        while j < end and left[j] < tolerance * whole[j]:
            shares[columns[j]] = left[j] / whole[j]
            _move_to_end(j, work[:, :m], left, whole, columns)
            end -= 1
        if j >= end:
            break
        shares[columns[j]] = left[j] / whole[j]
        if j < n - 1:
            _reflect(work[j:, j:], left[j + 1 :])
    rank = min(end, n)
    return LimitedPivotingQR(columns, np.triu(work[:rank, :rank]), work[:rank, m:], shares)


def _move_to_end(j: int, work: FloatArray, *rows: FloatArray | IntArray) -> None:
    """Column j becomes the last, and those behind it move up; the same in each of the vectors."""
    for array in (work, *rows):
        array[..., j:] = np.roll(array[..., j:], -1, axis=-1)


def _reflect(block: FloatArray, left: FloatArray) -> None:
    """Reflect the first column of the block onto its first axis, and the others with it.

    `left` are the lengths of as many columns after the first, brought up to date to what remains below the first row.
    """
    length = float(lengths(block[:, :1])[0])
    if length == 0.0:
        return
    signed = float(np.copysign(length, block[0, 0])) if block[0, 0] != 0.0 else length
    mirror = block[:, 0] * (1.0 / signed)
    mirror[0] += 1.0
    others = block[:, 1:]
    others -= np.multiply.outer(mirror, (mirror @ others) / mirror[0])
    block[0, 0] = -signed
    _update_lengths(left, others[:, : len(left)])


def _update_lengths(left: FloatArray, columns: FloatArray) -> None:
    """Take the first entry of each column out of its length."""
    there = left > 0.0
    taken = np.divide(np.abs(columns[0]), left, out=np.ones_like(left), where=there)
    remains = np.maximum(1.0 - taken**2, 0.0)
    anew = there & (remains < COMPUTE_ANEW_BELOW)
    left[~anew] *= np.sqrt(remains[~anew])
    if anew.any():
        left[anew] = lengths(columns[1:, anew])
