"""Least squares by Householder QR with refinement in doubled precision.

The design is equilibrated by powers of two, factored with column pivoting, and the solution refined on the augmented
system [I A; A' 0] [r; x] = [b; 0] with residuals in doubled precision (Björck 1967; Golub and Van Loan, 4th ed.,
section 5.3.8), solution and residual both carried as unevaluated pairs. Where the rank is short the minimum-norm
solution in the user's units is returned, and which coefficients the data identify.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import qr, solve_triangular

from service.fitting.arrays import BoolArray, FloatArray, IntArray
from service.fitting.reference.double_double import residual, transposed_product
from service.fitting.reference.equilibration import column_exponents, scaled_by

EPSILON = float(np.finfo(np.float64).eps)
MOST_REFINEMENTS = 20
#: A coefficient is identified where the squared length of its unit vector outside the row space is below this.
IDENTIFIED_BELOW = 1e-12


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """The minimiser of |A W - Y|.

    Attributes
    ----------
    parameters
        (m, q), the one of least Euclidean norm where there are many.
    residuals
        (n, q), Y - A W.
    triangle
        (min(n, m), m) with triangle' triangle = A'A, so that |A d| = |triangle d| for any d.
    rank, rank_tolerance
        Singular values of the equilibrated design above `rank_tolerance` times the largest count.
    condition_number
        sigma_1 / sigma_m of A; infinite where the rank is short.
    identified
        (m,) whether the data determine each parameter.
    """

    parameters: FloatArray
    residuals: FloatArray
    triangle: FloatArray
    rank: int
    rank_tolerance: float
    condition_number: float
    identified: BoolArray

    @cached_property
    def squares(self) -> float:
        """The sum of squared residuals over rows and targets."""
        return float(np.square(self.residuals).sum())

    @property
    def is_full_rank(self) -> bool:
        return self.rank == len(self.parameters)


def least_squares(a: FloatArray, y: FloatArray) -> LeastSquares:
    """Solve min |A W - Y| for A (n, m) and Y (n, q), finite, n >= 1, m >= 1."""
    exponents = column_exponents(a)
    factors = _factor(np.ascontiguousarray(scaled_by(a, -exponents)))
    y_exponents = column_exponents(y)
    solved = [_solve_target(factors, column) for column in scaled_by(y, -y_exponents).T]
    basic = np.stack([x for x, _ in solved], axis=1)
    parameters = scaled_by(scaled_by(basic, y_exponents).T, -exponents).T
    triangle = scaled_by(factors.unpivoted_triangle, exponents)
    if factors.rank < len(parameters):
        parameters = _least_norm(parameters, scaled_by(factors.unpivoted_triangle[: factors.rank], exponents))
    return LeastSquares(
        parameters=parameters,
        residuals=scaled_by(np.stack([r for _, r in solved], axis=1), y_exponents),
        triangle=triangle,
        rank=factors.rank,
        rank_tolerance=factors.rank_tolerance,
        condition_number=_condition_number(factors, exponents),
        identified=_identified(factors),
    )


@dataclass(frozen=True, eq=False)
class _Factors:
    """A P = Q R of the equilibrated design, and its numerical rank."""

    design: FloatArray
    orthogonal: FloatArray
    triangle: FloatArray
    pivots: IntArray
    rank: int
    rank_tolerance: float

    @property
    def unpivoted_triangle(self) -> FloatArray:
        out = np.empty_like(self.triangle)
        out[:, self.pivots] = self.triangle
        return out


def _factor(design: FloatArray) -> _Factors:
    orthogonal, triangle, pivots = qr(design, mode="economic", pivoting=True, check_finite=False)
    # The factorisation's own backward error is what a zero singular value cannot be told from.
    tolerance = 8.0 * EPSILON * float(np.sqrt(max(design.shape)))
    singular = np.linalg.svd(triangle, compute_uv=False)
    rank = int(np.count_nonzero(singular > tolerance * singular[0]))
    return _Factors(
        design,
        np.asarray(orthogonal, dtype=np.float64),
        np.asarray(triangle, dtype=np.float64),
        pivots.astype(np.int64),
        rank,
        tolerance,
    )


def _solve_target(factors: _Factors, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A basic solution (m,), zero outside the first `rank` pivots, and its residual (n,)."""
    columns = factors.pivots[: factors.rank]
    x = np.zeros(factors.design.shape[1])
    basis = np.ascontiguousarray(factors.design[:, columns])
    q, r = factors.orthogonal[:, : factors.rank], factors.triangle[: factors.rank, : factors.rank]
    x[columns], remainder = _refine(basis, q, r, np.ascontiguousarray(y))
    return x, remainder


def _refine(a: FloatArray, q: FloatArray, triangle: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The solution (k,) and residual (n,) of full-rank least squares, refined while the correction shrinks."""
    x, x_low = np.zeros(a.shape[1]), np.zeros(a.shape[1])
    r, r_low = y.copy(), np.zeros_like(y)
    smallest = np.inf
    for _ in range(MOST_REFINEMENTS):
        f = residual(y, r, r_low, a, x, x_low)
        dx, dr = _augmented_step(q, triangle, f, -transposed_product(a, r, r_low))
        size = _relative_size(dx, x)
        if not size < 0.5 * smallest:
            break
        x, x_low = _add(x, x_low, dx)
        r, r_low = _add(r, r_low, dr)
        smallest = size
    return x + x_low, r + r_low


def _augmented_step(q: FloatArray, triangle: FloatArray, f: FloatArray, g: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(dx, dr) solving [I A; A' 0] [dr; dx] = [f; g] with A = Q R."""
    difference = q.T @ f - solve_triangular(triangle, g, trans="T", check_finite=False)
    return solve_triangular(triangle, difference, check_finite=False), f - q @ difference


def _relative_size(dx: FloatArray, x: FloatArray) -> float:
    size, scale = float(np.linalg.norm(dx)), float(np.linalg.norm(x))
    # The first step starts from 0 and is taken whatever its size; a vanishing correction is not taken again.
    return size / scale if scale > 0.0 else (1e300 if size > 0.0 else np.inf)


def _add(high: FloatArray, low: FloatArray, correction: FloatArray) -> tuple[FloatArray, FloatArray]:
    low = low + correction
    total = high + low
    return total, low - (total - high)


def _least_norm(parameters: FloatArray, rows: FloatArray) -> FloatArray:
    """The projection of a solution (m, q) onto the row space spanned by `rows` (rank, m)."""
    basis = np.linalg.qr(rows.T)[0]
    projected: FloatArray = basis @ (basis.T @ parameters)
    return projected


def _identified(factors: _Factors) -> BoolArray:
    m = factors.design.shape[1]
    if factors.rank == m:
        return np.ones(m, dtype=np.bool_)
    basis = np.linalg.qr(factors.unpivoted_triangle[: factors.rank].T)[0]
    inside = np.einsum("jk,jk->j", basis, basis)
    return np.asarray(1.0 - inside < IDENTIFIED_BELOW, dtype=np.bool_)


def _condition_number(factors: _Factors, exponents: FloatArray) -> float:
    if factors.rank < factors.design.shape[1]:
        return np.inf
    # Relative to the largest column, so that nothing overflows; what vanishes beside it leaves no finite number.
    triangle = scaled_by(factors.unpivoted_triangle, exponents - exponents.max())
    singular = np.linalg.svd(triangle, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0.0 else np.inf
