"""Coordinates in which the rows of a design are nearly orthonormal, where nothing cancels.

What is built on rows, a' (A'SA)^-1 a or a sandwich, loses twice as many digits through the inverse as through a
triangular solve. Here it is b' M^-1 b with b = T' a and M = T'A'SA T, for T any rough inverse of the triangle: M, near
I, makes up for its roughness. Up to `PLAIN_CONDITION` working precision leaves 12 digits, and M is I; beyond, b is
found in doubled precision, powers with their low-order halves, and nothing is lost: on NIST's Filip a new row's
a' (A'A)^-1 a has 15 digits, where a triangular solve has 7 and the inverse none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg.lapack import dgeqp3, dpotrf, dtrtri

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.reference.columns import DoubledColumns
from service.fitting.reference.design import Design
from service.fitting.reference.double_double import Pair
from service.fitting.reference.equilibration import column_exponents, scaled_by
from service.fitting.reference.gram_factor import inverse_of_square
from service.fitting.reference.kernels import Block, Kernels, zeros
from service.fitting.reference.least_squares import LeastSquares
from service.fitting.reference.solved import EPSILON

PLAIN_CONDITION = 1e4
#: Rows a block: enough for BLAS to run at full speed, few enough to need little memory.
BLOCK_ROWS = 4096
#: What rounding leaves of 1 - leverage at best.
_LEAST_LEFT = 1e-13
#: Columns whose largest number is smaller lose digits, or vanish.
_LEAST_COLUMN = 1e-280


@dataclass(frozen=True, eq=False)
class Whitening:
    """b_i = sqrt(s_i) T' a_i, (r,) for a rank of r. Penalties are in A'SA, wherever it stands here.

    Attributes
    ----------
    exponents
        (m,) columns are multiplied by 2^-exponent first.
    transform
        (m, r) T, of columns so scaled; zeros for columns that depend on others.
    inner
        (r, r) M^-1, M = sum_i b_i b_i' + T' diag(penalties) T.
    least_left
        1 - leverage below this is 0, as far as rounding tells.
    doubled
        What doubled precision is carried by; None where working precision is enough.
    """

    design: Design
    exponents: FloatArray
    transform: FloatArray
    inner: FloatArray
    least_left: float
    doubled: Kernels | None

    @classmethod
    def of(cls, solution: LeastSquares, kernels: Kernels) -> "Whitening":
        """Of a solution's design, as far as its rank goes."""
        design, rank = solution.design, solution.rank
        triangle, exponents, in_range = equilibrated(solution)
        transform, condition = _rough_inverse(triangle, rank)
        if condition <= PLAIN_CONDITION and in_range:
            least_left = max(_LEAST_LEFT, 8.0 * EPSILON * condition)
            return cls(design, exponents, transform, np.eye(rank), least_left, None)
        rough = cls(design, exponents, transform, np.eye(rank), _LEAST_LEFT, kernels)
        return replace(rough, inner=_inverted(rough.gram()))

    @cached_property
    def counted_rows(self) -> IntArray:
        """The rows with a positive weight."""
        weights = self.design.weights
        return np.arange(self.design.rows) if weights is None else np.flatnonzero(weights > 0.0)

    def parts(self) -> Iterator[IntArray]:
        """The same, a block after the other."""
        for first in range(0, len(self.counted_rows), BLOCK_ROWS):
            yield self.counted_rows[first : first + BLOCK_ROWS]

    def rows(self, part: IntArray) -> FloatArray:
        """(b, r) of some of the design's own rows, their weights inside."""
        images = self.images(self.design.features[part])
        weights = self.design.weights
        return images if weights is None else images * np.sqrt(weights[part])[:, None]

    def images(self, features: FloatArray) -> FloatArray:
        """(b, r) T' a of rows with these features (b, p), not weighted."""
        rows = Design(features, self.design.intercept, self.design.degree)
        if self.doubled is None:
            return np.asarray(scaled_by(rows.plain(), -self.exponents) @ self.transform)
        return _product(scaled_columns(rows, self.exponents), Pair.of(self.transform), self.doubled).rounded

    def gram(self) -> FloatArray:
        """(r, r) M, over the design's own rows."""
        total = np.zeros_like(self.inner)
        if self.design.penalties is not None:
            roots = scaled_by(np.sqrt(self.design.penalties), -self.exponents)[:, None] * self.transform
            total += roots.T @ roots
        for part in self.parts():
            rows = self.rows(part)
            total += rows.T @ rows
        return total

    def leverage(self, images: FloatArray) -> FloatArray:
        """(b,) b' M^-1 b."""
        return np.asarray(np.einsum("ij,ij->i", images @ self.inner, images))

    @cached_property
    def row_leverage(self) -> FloatArray:
        """(n,) s_i a_i' (A'SA)^- a_i of the design's own rows, from 0 to 1; 0 for rows of weight 0."""
        out = np.zeros(self.design.rows)
        for part in self.parts():
            out[part] = self.leverage(self.rows(part))
        return np.clip(out, 0.0, 1.0)

    @cached_property
    def back(self) -> FloatArray:
        """(m, r) T M^-1, which takes sum_i b_i z_i to the coefficients of z, times 2^exponents."""
        return np.asarray(self.transform @ self.inner)

    @cached_property
    def variances(self) -> FloatArray:
        """(m,) the diagonal of (A'SA)^-1 times 4^exponents; meaningless for what the data do not determine."""
        return np.asarray(np.einsum("ij,ij->i", self.back, self.transform))

    def unit_errors(self) -> FloatArray:
        """(m,) the roots of the diagonal of (A'SA)^-1, be that in float64 or not; see `variances`."""
        return scaled_by(np.sqrt(self.variances), -self.exponents)


def equilibrated(solution: LeastSquares) -> tuple[FloatArray, FloatArray, bool]:
    """The triangle (k, m) times 2^-exponents, near 1, and the exponents (m,).

    And whether the columns of the design stay in float64: powers may leave it, though the solution does not.
    """
    largest = np.abs(solution.triangle).max(axis=0)
    vanishing = (largest < _LEAST_COLUMN) & (solution.identified | (largest > 0.0))
    if np.isfinite(largest).all() and not vanishing.any():
        exponents = column_exponents(solution.triangle)
        return scaled_by(solution.triangle, -exponents), exponents, True
    columns = DoubledColumns.of(solution.design, np.empty((solution.design.rows, 0)))
    return np.asarray(np.linalg.qr(columns.columns, mode="r")), columns.exponents + columns.root_exponent, False


def scaled_columns(rows: Design, exponents: FloatArray) -> Pair:
    """2^-exponents A of some rows, powers with their low-order halves, though they leave float64 as they are."""
    columns = DoubledColumns.of(rows, np.empty((rows.rows, 0)))
    shift = columns.exponents - exponents
    low = columns.low if columns.low is not None else np.zeros_like(columns.columns)
    return Pair(scaled_by(columns.columns, shift), scaled_by(low, shift))


def _rough_inverse(triangle: FloatArray, rank: int) -> tuple[FloatArray, float]:
    """T (m, r) with T'R'RT near I for a triangle R (k, m), and the condition of what it inverts."""
    transform = np.zeros((triangle.shape[1], rank))
    if rank == 0:
        return transform, 1.0
    factors, pivots, *_ = dgeqp3(triangle)
    upper = np.triu(factors[:rank, :rank])
    transform[pivots[:rank] - 1], _ = dtrtri(upper)
    singular = np.linalg.svd(upper, compute_uv=False)
    return transform, float(singular[0] / singular[-1])


def _inverted(matrix: FloatArray) -> FloatArray:
    """Of a symmetric matrix near I."""
    factor, _ = dpotrf(matrix)
    return inverse_of_square(factor)


def _product(left: Pair, right: Pair, kernels: Kernels) -> Pair:
    """left (i, k) @ right (k, j)."""
    out = zeros(len(left.high), right.high.shape[1])
    high, low = (np.asfortranarray(half) for half in left)
    kernels.subtract_product(Block(high, low, 0, len(high)), right, out)
    return Pair(-out.high, -out.low)
