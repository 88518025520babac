"""What one row weighs in a fit, and how far it lies off: leverage, studentised residuals, Cook's distance, DFFITS.

As R's `hatvalues`, `rstandard`, `rstudent`, `cooks.distance` and `dffits`, for weighted fits too (Belsley, Kuh and
Welsch 1980, chapter 2; Cook and Weisberg 1982, chapter 2).
"""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.inference import reasons
from service.fitting.inference.degrees import Degrees
from service.fitting.inference.sums import CountedRows, whitened_residuals
from service.fitting.inference.uncertainty import finite
from service.fitting.inference.whitening import Whitening
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import LeastSquares

#: Where a row is more of the residual sum than this, all others are fitted exactly, as far as rounding tells.
_ALONE = 1.0 - 1e-13


@dataclass(frozen=True, eq=False)
class Observations:
    """Every row of a fit; h is its leverage, s its weight, e its residual, k the rank.

    Attributes
    ----------
    fitted, residual
        (n, q) in the target's units, not weighted.
    leverage
        (n,) s a' (A'SA)^-1 a, from 0 to 1; 0 for rows of weight 0.
    studentized_internal
        (n, q) sqrt(s) e / (residual_sd sqrt(1 - h)).
    studentized_external
        (n, q) the same with the residual_sd of the fit without the row: t-distributed with df_residual - 1.
    cooks_distance
        (n, q) studentized_internal^2 h / ((1 - h) k).
    dffits
        (n, q) studentized_external sqrt(h / (1 - h)).
    reasons
        (q,) why some of these are NaN; None where none is.
    """

    fitted: FloatArray
    residual: FloatArray
    leverage: FloatArray
    studentized_internal: FloatArray
    studentized_external: FloatArray
    cooks_distance: FloatArray
    dffits: FloatArray
    reasons: tuple[str | None, ...]


# What leaves float64 is data here: it comes out as NaN, and a reason says so.
@np.errstate(all="ignore")
def observations(solution: LeastSquares, y: FloatArray, kernels: Kernels = PLAIN) -> Observations:
    """The rows of a solution for the targets Y (n, q); `kernels` as for `infer`."""
    degrees = Degrees.of(solution)
    whitening = Whitening.of(solution, kernels)
    leverage = whitening.row_leverage
    if solution.design.penalties is not None:
        return _bare(solution, y, leverage, reasons.PENALISED_ROWS)
    if degrees.residual == 0:
        return _bare(solution, y, leverage, reasons.saturated(degrees))
    weights = solution.design.weights
    counted = np.ones(len(y), dtype=np.bool_) if weights is None else weights > 0.0
    full = counted & (1.0 - leverage < whitening.least_left)
    left = np.where(counted & ~full, 1.0 - leverage, np.nan)[:, None]
    relative = _relative_residuals(solution, y)
    internal = np.sqrt(degrees.residual / left) * relative
    external = _external(relative, left, degrees.residual)
    odds = leverage[:, None] / left
    shared = _shared_reasons(counted, full)
    return Observations(
        fitted=finite(y - solution.residuals),
        residual=finite(solution.residuals),
        leverage=leverage,
        studentized_internal=internal,
        studentized_external=external,
        cooks_distance=np.square(internal) * odds / degrees.rank,
        dffits=external * np.sqrt(odds),
        reasons=tuple(
            reasons.together(shared + _own_reasons(inner, outer, degrees))
            for inner, outer in zip(internal[counted & ~full].T, external[counted & ~full].T, strict=True)
        ),
    )


def _bare(solution: LeastSquares, y: FloatArray, leverage: FloatArray, reason: str) -> Observations:
    """Without all that is measured by the residual variance."""
    nothing = np.full(y.shape, np.nan)
    residual = solution.residuals
    return Observations(
        finite(y - residual), finite(residual), leverage, nothing, nothing, nothing, nothing, (reason,) * y.shape[1]
    )


def _relative_residuals(solution: LeastSquares, y: FloatArray) -> FloatArray:
    """(n, q) sqrt(s) e over the root of their sum of squares; NaN where that is 0."""
    residuals, _ = whitened_residuals(solution)
    sums = CountedRows.of(solution, y).sums(solution.design.intercept)
    exact = [of.residual == 0.0 for of in sums]
    return np.asarray(residuals / np.where(exact, np.nan, np.linalg.norm(residuals, axis=0)))


def _external(relative: FloatArray, left: FloatArray, df: int) -> FloatArray:
    """By RSS - s e^2 / (1 - h), the residual sum of squares without the row."""
    if df == 1:
        return np.full_like(relative, np.nan)
    part = np.square(relative) / left
    others = np.where(part < _ALONE, 1.0 - part, np.nan)
    return np.asarray(relative * np.sqrt((df - 1) / (left * others)))


def _shared_reasons(counted: BoolArray, full: BoolArray) -> list[str]:
    found = []
    if full.any():
        found.append(reasons.full_leverage(np.flatnonzero(full).tolist(), reasons.MUST_PASS))
    if not counted.all():
        found.append(reasons.NO_WEIGHT)
    return found


def _own_reasons(internal: FloatArray, external: FloatArray, degrees: Degrees) -> list[str]:
    """Of one target, over the rows that have no reason of their own."""
    if degrees.rank == 0:
        return [reasons.NO_RANK]
    if np.isnan(internal).any():
        return [reasons.NO_RESIDUALS]
    if degrees.residual == 1:
        return [reasons.ONE_DEGREE]
    return [reasons.OTHERS_EXACT] if np.isnan(external).any() else []
