"""The sums of squares behind a summary, to full relative precision, whatever the units."""

import math
from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.reference.design import Design
from service.fitting.reference.equilibration import column_exponents, scaled_by
from service.fitting.reference.least_squares import LeastSquares

#: Sums of squares outside these bounds are taken again in other units: squares of what is much smaller than the
#: target, and of weights, must not be lost.
_LEAST, _LARGEST = 1e-120, 1e120

#: Of the target's sum of squares: what residuals that were worked out in doubled precision may come to by rounding.
_NOTHING = 1e-50


@dataclass(frozen=True)
class Sums:
    """Of one target, weighted, over the rows with a positive weight, in units of 4^exponent.

    Attributes
    ----------
    residual
        Of squared residuals; 0 where they are no more than the rounding of doubled precision.
    total, explained
        Of the squares of target and fitted values, about the target's mean with an intercept, about 0 without.
    size
        Of the target's squares about 0.
    """

    residual: float
    total: float
    explained: float
    size: float
    exponent: int

    @property
    def is_exact(self) -> bool:
        """Whether the residuals are no larger than the rounding of the numbers: R's "essentially perfect fit"."""
        return self.residual <= 1e-30 * self.size

    def root(self, square: float) -> float:
        """The root of a square in units of 4^exponent; infinite, 0 or NaN where it leaves float64."""
        return float(np.ldexp(math.sqrt(square), self.exponent))


def counted_weights(design: Design) -> tuple[IntArray, FloatArray, int]:
    """The rows with a positive weight, their weights times 4^-r, and r, which brings the largest near 1."""
    if design.weights is None:
        return np.arange(design.rows), np.ones(design.rows), 0
    rows = np.flatnonzero(design.weights > 0.0)
    weights = design.weights[rows]
    root_exponent = math.frexp(float(weights.max()))[1] // 2
    return rows, np.ldexp(weights, -2 * root_exponent), root_exponent


def whitened_residuals(solution: LeastSquares) -> tuple[FloatArray, FloatArray]:
    """sqrt(s) e times 2^-exponent (n, q), near 1, and the exponents (q,); 0 for rows of weight 0."""
    residuals, weights = solution.residuals, solution.design.weights
    exponents = column_exponents(residuals if weights is None else residuals[weights > 0.0])
    scaled = scaled_by(residuals, -exponents)
    if weights is None:
        return scaled, exponents
    root_exponent = math.frexp(float(weights.max()))[1] // 2
    scaled = np.where((weights > 0.0)[:, None], scaled * np.ldexp(np.sqrt(weights), -root_exponent)[:, None], 0.0)
    # A large residual may have a small weight.
    again = column_exponents(scaled)
    return scaled_by(scaled, -again), exponents + root_exponent + again


@dataclass(frozen=True, eq=False)
class CountedRows:
    """The rows with a positive weight, of all targets.

    `weights` (n,) are times 4^-root_exponent, None where all are 1; `log_weights` is the sum of their logarithms.
    """

    targets: FloatArray
    residuals: FloatArray
    weights: FloatArray | None
    root_exponent: int
    log_weights: float

    @classmethod
    def of(cls, solution: LeastSquares, y: FloatArray) -> "CountedRows":
        """The rows of Y (n, q) and of its residuals that count."""
        weights, residuals = solution.design.weights, solution.residuals
        if weights is None:
            return cls(y, residuals, None, 0, 0.0)
        rows, scaled, root_exponent = counted_weights(solution.design)
        return cls(y[rows], residuals[rows], scaled, root_exponent, float(np.log(weights[rows]).sum()))

    def sums(self, about_mean: bool) -> tuple[Sums, ...]:
        """One a target."""
        return tuple(
            self._sums(target, residual, about_mean)
            for target, residual in zip(self.targets.T, self.residuals.T, strict=True)
        )

    def _sums(self, target: FloatArray, residual: FloatArray, about_mean: bool) -> Sums:
        exponent, size = 0, self._square(target)
        if not _LEAST < size < _LARGEST:
            exponent = math.frexp(float(np.abs(target).max()))[1]
            target, residual = np.ldexp(target, -exponent), np.ldexp(residual, -exponent)
            size = self._square(target)
        centred = self._centred(target) if about_mean else target
        left = self._square(residual)
        return Sums(
            residual=left if left > _NOTHING * size else 0.0,
            total=self._square(centred),
            explained=self._square(centred - residual),
            size=size,
            exponent=exponent + self.root_exponent,
        )

    def _square(self, values: FloatArray) -> float:
        return float((values if self.weights is None else values * self.weights) @ values)

    def _centred(self, values: FloatArray) -> FloatArray:
        # Differences from one of the values are exact where it matters: a constant leaves exact zeros.
        shifted = values - values[0]
        weights = self.weights
        mean = shifted.sum() / len(shifted) if weights is None else (weights @ shifted) / weights.sum()
        return np.asarray(shifted - mean)
