"""Standard errors that do not take all rows for equally and independently scattered.

All are sandwiches (A'SA)^-1 (sum_g z_g z_g') (A'SA)^-1, z the scores s_i e_i a_i of rows, or their sums over clusters,
weighted as statsmodels does: on rows times the roots of their weights. Rows of weight 0 are no observations. They are
put together block by block in the coordinates of `Whitening`, and are as exact as it is.
"""

from collections.abc import Iterator

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray, IntArray
from service.fitting.inference import reasons
from service.fitting.inference.degrees import Degrees
from service.fitting.inference.options import StandardErrors
from service.fitting.inference.sums import whitened_residuals
from service.fitting.inference.uncertainty import Uncertainty, finite
from service.fitting.inference.whitening import BLOCK_ROWS, Whitening
from service.fitting.reference.equilibration import scaled_by
from service.fitting.reference.kernels import Kernels
from service.fitting.reference.least_squares import LeastSquares

#: Residuals are divided by this power of 1 - leverage.
_POWERS: dict[StandardErrors, float] = {"hc0": 0.0, "hc1": 0.0, "hc2": 0.5, "hc3": 1.0}
#: A row of leverage 1 takes part in a coefficient where more than this share of its variance comes from it.
_TAKES_PART = 1e-16
#: Numbers in the middles of sandwiches that are put together at a time.
_MOST_NUMBERS = 1 << 22


def heteroscedastic(solution: LeastSquares, kind: StandardErrors, wanted: bool, kernels: Kernels) -> Uncertainty:
    """Every row with a variance of its own: e_i^2 for HC0 (White 1980), the rest for small samples.

    n / (n - rank) e_i^2 for HC1, e_i^2 / (1 - h_i) for HC2, e_i^2 / (1 - h_i)^2 for HC3 (MacKinnon and White 1985).
    """
    degrees, whitening = Degrees.of(solution), Whitening.of(solution, kernels)
    rows = whitening.counted_rows
    residuals, exponents = whitened_residuals(solution)
    scores, unknown, reason = residuals[rows], ~solution.identified, None
    if (power := _POWERS[kind]) > 0.0:
        left = 1.0 - whitening.row_leverage[rows]
        full = left < whitening.least_left
        scores = scores * np.where(full, 0.0, left**-power)[:, None]
        if full.any():
            unknown = unknown | _involved(whitening, rows[full])
            reason = reasons.full_leverage(rows[full].tolist(), reasons.divided_by_nothing(kind))
    correction = degrees.observations / degrees.residual if kind == "hc1" else 1.0
    middles = _middles(whitening, rows, np.sqrt(correction) * scores, None)
    errors, matrices = _sandwiches(whitening, middles, exponents, unknown, wanted)
    return Uncertainty(errors, matrices, degrees.residual, reason)


def clustered(solution: LeastSquares, groups: FloatArray, wanted: bool, kernels: Kernels) -> Uncertainty:
    """Rows correlated as they like within the clusters `groups` (n,) puts them in (Liang and Zeger 1986).

    Times G / (G - 1) (n - 1) / (n - rank) for G clusters, as Stata and statsmodels do; G - 1 degrees of freedom.
    """
    degrees, whitening = Degrees.of(solution), Whitening.of(solution, kernels)
    residuals, exponents = whitened_residuals(solution)
    rows = whitening.counted_rows
    rows = rows[np.argsort(groups[rows], kind="stable")]
    begins = np.concatenate([[True], np.diff(groups[rows]) != 0.0])
    count = int(begins.sum())
    if count == 1:
        return Uncertainty.none(degrees.parameters, len(exponents), wanted, reasons.ONE_CLUSTER)
    correction = count / (count - 1) * (degrees.observations - 1) / degrees.residual
    middles = _middles(whitening, rows, np.sqrt(correction) * residuals[rows], begins)
    errors, matrices = _sandwiches(whitening, middles, exponents, ~solution.identified, wanted)
    return Uncertainty(errors, matrices, count - 1, None)


def _involved(whitening: Whitening, rows: IntArray) -> BoolArray:
    """(m,) whose variance comes in part from one of these rows, each of leverage 1."""
    parts = np.square(whitening.rows(rows) @ whitening.back.T).max(axis=0)
    return np.asarray(parts > _TAKES_PART * whitening.variances)


def _middles(
    whitening: Whitening, rows: IntArray, scores: FloatArray, begins: BoolArray | None
) -> Iterator[FloatArray]:
    """sum_g z_g z_g' (r, r) for each target, z_g the sum of b_i e_i over a cluster.

    `scores` (b, q) are the e_i of `rows` (b,); `begins` (b,) says which begin a cluster, all where it is None.
    """
    rank, targets = len(whitening.inner), scores.shape[1]
    together = max(_MOST_NUMBERS // max(rank**2, 1), 1)
    for first in range(0, targets, together):
        some = scores[:, first : first + together]
        totals = np.zeros((some.shape[1], rank, rank))
        pending = np.zeros((some.shape[1], rank))
        for start in range(0, len(rows), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            images = whitening.rows(rows[part])
            for k, score in enumerate(some[part].T):
                products = images * score[:, None]
                if begins is not None:
                    products, pending[k] = _cluster_sums(products, begins[part], pending[k])
                totals[k] += products.T @ products
        yield from totals + pending[:, :, None] * pending[:, None, :]


def _cluster_sums(products: FloatArray, begins: BoolArray, pending: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The sums (g, r) over clusters that have ended, and the sum (r,) over the last, which may go on.

    `pending` (r,) is the sum that the rows before have left.
    """
    starts = np.flatnonzero(begins)
    if begins[0]:
        sums = np.vstack([pending, np.add.reduceat(products, starts, axis=0)])
    else:
        sums = np.add.reduceat(products, np.concatenate([[0], starts]), axis=0)
        sums[0] += pending
    return sums[:-1], sums[-1]


def _sandwiches(
    whitening: Whitening, middles: Iterator[FloatArray], exponents: FloatArray, unknown: BoolArray, wanted: bool
) -> tuple[FloatArray, tuple[FloatArray, ...] | None]:
    """Standard errors (m, q), and the matrices where they are wanted; NaN for the `unknown` (m,) coefficients."""
    errors, matrices = [], []
    for middle, exponent in zip(middles, exponents, strict=True):
        covariance = whitening.back @ middle @ whitening.back.T
        covariance[unknown] = np.nan
        covariance[:, unknown] = np.nan
        shift = exponent - whitening.exponents
        errors.append(scaled_by(np.sqrt(covariance.diagonal()), shift))
        if wanted:
            matrices.append(finite(scaled_by(scaled_by(covariance, shift).T, shift).T))
    return np.stack(errors, axis=1), tuple(matrices) if wanted else None
