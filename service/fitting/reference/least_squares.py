"""The reference: least squares that can be trusted to the last digits, by the cheapest way that can.

Three ways, from the fastest to the one that always works: Cholesky of the Gram matrix about the means, Cholesky of the
Gram matrix in doubled precision, pivoted Householder QR; all refined with residuals in doubled precision. The estimated
condition number decides, never the size. A bound on what is left of the error comes with the answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dgesdd

from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.reference import solved
from service.fitting.reference.centred_cholesky import solve_centred
from service.fitting.reference.columns import Columns, DoubledColumns, RawColumns
from service.fitting.reference.design import Design
from service.fitting.reference.doubled_cholesky import solve_doubled
from service.fitting.reference.equilibration import column_exponents, scaled_by
from service.fitting.reference.householder import solve_by_qr
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.null_space import null_directions
from service.fitting.reference.solved import Method, Solved
from service.fitting.solution import NullDirection


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """The minimiser of sum_i s_i |a_i W - y_i|^2 + sum_j penalty_j |w_j|^2, in the user's units.

    Attributes
    ----------
    method
        Which way was taken.
    parameters
        (m, q), the one of least Euclidean norm where there are many.
    certified_digits
        Digits to which every parameter is known to be right, from 0 to 15.95; 0 where the rank is a matter of rounding.
    residuals
        (n, q), Y - A W, not weighted.
    target_squares
        (q,) sum_i s_i residual_i^2 of each target.
    triangle
        (k, m) with triangle' triangle = A'SA + diag(penalties).
    rank, rank_tolerance
        Singular values of the equilibrated design above `rank_tolerance` times the largest count.
    identified
        (m,) whether the data determine each parameter.
    rows_used
        Rows of positive weight.
    """

    design: Design
    method: Method
    parameters: FloatArray
    certified_digits: float
    residuals: FloatArray
    target_squares: FloatArray
    triangle: FloatArray
    rank: int
    rank_tolerance: float
    identified: BoolArray
    rows_used: int
    equilibrated_null_space: FloatArray
    exponents: FloatArray
    _inverse: Callable[[], FloatArray]

    @property
    def is_full_rank(self) -> bool:
        return self.rank == len(self.parameters)

    @cached_property
    @np.errstate(all="ignore")
    def squares(self) -> float:
        """The least value of the whole sum, over rows and targets, penalties included."""
        total = float(self.target_squares.sum())
        if self.design.penalties is not None:
            total += float(self.design.penalties @ np.square(self.parameters).sum(axis=1))
        return total

    @cached_property
    @np.errstate(all="ignore")
    def inverse(self) -> FloatArray:
        """(m, m) (A'SA + diag(penalties))^-1; NaN rows and columns for parameters that are not identified."""
        inverse = self._inverse()
        if not self.is_full_rank:
            inverse[~self.identified] = np.nan
            inverse[:, ~self.identified] = np.nan
        return inverse

    @property
    def null_space(self) -> FloatArray:
        """(m, d) a basis of the combinations of columns that vanish, in the user's units."""
        return scaled_by(self.equilibrated_null_space.T, self.exponents.min(initial=0.0) - self.exponents).T

    def null_directions(self, terms: Sequence[str]) -> tuple[NullDirection, ...]:
        """The null space in words, for parameters called `terms` (m,); at most `MOST_NULL_DIRECTIONS`."""
        return null_directions(self.equilibrated_null_space, self.exponents, terms, self.design.intercept)

    @cached_property
    def condition_number(self) -> float:
        """sigma_1 / sigma_m of the triangle, which is A's; infinite where the rank is short."""
        if not self.is_full_rank:
            return np.inf
        # Relative to the largest column, so that nothing overflows; what vanishes beside it leaves no finite number.
        _, exponent = np.frexp(np.abs(self.triangle).max())
        return _condition(np.ldexp(self.triangle, -exponent))

    @cached_property
    def equilibrated_condition(self) -> float:
        """The same with every column brought to length 1."""
        if not self.is_full_rank:
            return np.inf
        near_one = scaled_by(self.triangle, -column_exponents(self.triangle))
        return _condition(near_one / np.linalg.norm(near_one, axis=0))


def _condition(triangle: FloatArray) -> float:
    if not np.isfinite(triangle).all():
        return np.inf
    _, singular, _, _ = dgesdd(triangle, compute_uv=0)
    return float(singular[0] / singular[-1]) if singular[-1] > 0.0 else np.inf


# What leaves float64 on the way is data: another way is tried, or the answer holds it.
@np.errstate(all="ignore")
def least_squares(design: Design, y: FloatArray, kernels: Kernels = PLAIN) -> LeastSquares:
    """Solve for Y (n, q), finite, n >= 1, m >= 1, with some weight above 0."""
    columns, answer = _solve(design, y, kernels)
    back = _as_it_is(answer) if isinstance(columns, RawColumns) else _scaled_back(columns, answer)
    return LeastSquares(
        design=design,
        method=answer.method,
        parameters=back.parameters,
        certified_digits=solved.certified_digits(answer.parameters.high, answer.error),
        residuals=_unweighted(design, y, back.parameters, back.residuals),
        target_squares=back.squares,
        triangle=back.triangle,
        rank=answer.rank,
        rank_tolerance=answer.rank_tolerance,
        identified=answer.identified,
        rows_used=len(answer.residuals),
        equilibrated_null_space=answer.null_space,
        exponents=columns.exponents,
        _inverse=back.inverse,
    )


class _Back(NamedTuple):
    """What has units, in the user's; residuals (n, q) still weighted."""

    parameters: FloatArray
    residuals: FloatArray
    squares: FloatArray
    triangle: FloatArray
    inverse: Callable[[], FloatArray]


def _as_it_is(answer: Solved) -> _Back:
    residuals = answer.residuals
    squares = solved.squares_of(residuals)
    return _Back(answer.parameters.rounded, residuals, squares, answer.triangle, answer.inverse)


def _scaled_back(columns: Columns, answer: Solved) -> _Back:
    exponents, target_exponents, root_exponent = columns.exponents, columns.target_exponents, columns.root_exponent
    row_exponents = exponents + root_exponent
    return _Back(
        scaled_by(scaled_by(answer.parameters.rounded, target_exponents).T, -exponents).T,
        scaled_by(answer.residuals, target_exponents + root_exponent),
        scaled_by(solved.squares_of(answer.residuals), 2.0 * (target_exponents + root_exponent)),
        scaled_by(answer.triangle, row_exponents),
        lambda: scaled_by(scaled_by(answer.inverse(), -row_exponents).T, -row_exponents).T,
    )


def _solve(design: Design, y: FloatArray, kernels: Kernels) -> tuple[Columns, Solved]:
    if design.weights is None and design.degree == 1 and design.rows >= design.columns:
        raw = RawColumns.of(design, y)
        if (answer := solve_centred(raw, kernels)) is not None:
            return raw, answer
    doubled = DoubledColumns.of(design, y)
    answer = solve_doubled(doubled, kernels) if design.rows >= design.columns else None
    return doubled, answer or solve_by_qr(doubled, kernels)


def _unweighted(design: Design, y: FloatArray, parameters: FloatArray, weighted: FloatArray) -> FloatArray:
    """Y - A W (n, q) from the weighted residuals of the rows that count."""
    weights = design.weights
    if weights is None:
        return weighted
    used = weights > 0.0
    out = np.empty_like(y)
    out[used] = weighted / np.sqrt(weights[used])[:, None]
    left = ~used
    out[left] = y[left] - Design(design.features[left], design.intercept, design.degree).plain() @ parameters
    return out
