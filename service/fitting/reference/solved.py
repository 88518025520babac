"""What the ways of solving least squares have in common: the answer in the units of the columns, and how sure it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.reference.double_double import Pair

Method = Literal["cholesky_refined", "cholesky_doubled_refined", "householder_qr_refined", "householder_qr_least_norm"]

EPSILON = float(np.finfo(np.float64).eps)
#: -log10 of the unit roundoff 2^-53: no two different float64 numbers match in more.
MOST_DIGITS = float(-np.log10(2.0**-53))


@dataclass(frozen=True, eq=False)
class Solved:
    """min |B V - Z|^2 + sum_j penalty_j |v_j|^2, B (n, m), in the units of `Columns`.

    Attributes
    ----------
    parameters
        (m, q), each a pair.
    error
        (m, q) a bound on what is wrong with them; infinite where nothing is known.
    residuals
        (n, q) Z - B V.
    triangle
        (k, m) with R'R = B'B + diag(penalties).
    rank, rank_tolerance
        Singular values of the equilibrated design above `rank_tolerance` times the largest count.
    identified
        (m,) whether the data determine each parameter.
    null_space
        (m, d) a basis of what B maps to 0, in the columns' units; (m, 0) where the rank is full.
    inverse
        Computed when asked for: (m, m) (B'B + diag(penalties))^-1.
    """

    method: Method
    parameters: Pair
    error: FloatArray
    residuals: FloatArray
    triangle: FloatArray
    rank: int
    rank_tolerance: float
    identified: BoolArray
    null_space: FloatArray
    inverse: Callable[[], FloatArray]


def rank_tolerance(rows: int, columns: int) -> float:
    """What a singular value, relative to the largest, cannot be told from 0 below.

    The backward error of the factorisation itself: 8 eps sqrt(max(n, m)).
    """
    return 8.0 * EPSILON * float(np.sqrt(max(rows, columns)))


def doubt(inverse: FloatArray, gradient: FloatArray) -> FloatArray:
    """(m, q) what rounding in doubled precision can do to the parameters, whatever is refined.

    |(A'A)^-1| times what is uncertain in the gradient A'(y - A x), the sums of which are right to a few units in
    2^-104 of their largest terms `gradient` (m, q).
    """
    return np.asarray(64.0 * EPSILON**2 * (len(inverse) + 4) * (np.abs(inverse) @ gradient))


def squares_of(columns: FloatArray) -> FloatArray:
    """(q,) the sums of squares of columns (n, q), without another array of their size."""
    return np.array([column @ column for column in columns.T])


def lengths_of(columns: FloatArray) -> FloatArray:
    """(q,) the Euclidean lengths of columns (n, q)."""
    return np.sqrt(squares_of(columns))


def largest_terms(
    lengths: FloatArray, targets: FloatArray, parameters: Pair, penalties: FloatArray | None
) -> FloatArray:
    """(m, q) the size of the largest terms in the sums of A'(y - A x) - penalty x.

    From the lengths of the columns (m,) and of the targets (q,).
    """
    sizes = np.abs(parameters.high)
    terms: FloatArray = lengths[:, None] * (targets + lengths @ sizes)
    return terms if penalties is None else terms + penalties[:, None] * sizes


def settled(parameters: Pair, error: FloatArray, floor: FloatArray) -> tuple[Pair, FloatArray]:
    """Parameters that doubled precision cannot tell from 0, by its `floor` (m, q), are 0; the rest is as it was."""
    nothing = np.abs(parameters.high) <= 4.0 * floor
    if not nothing.any():
        return parameters, error
    return (
        Pair(*(np.where(nothing, 0.0, half) for half in parameters)),
        np.where(nothing, 0.0, error),
    )


def certified_digits(parameters: FloatArray, error: FloatArray) -> float:
    """The least -log10 of the relative error bound, the rounding to float64 included, from 0 to `MOST_DIGITS`."""
    worst = float(np.where(error == 0.0, 0.0, error / np.abs(parameters)).max(initial=0.0))
    return min(max(-math.log10(worst + 2.0**-53), 0.0), MOST_DIGITS) if math.isfinite(worst) else 0.0
