"""How far coefficients may be off: what every estimator of their covariance answers, and the classical one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.inference.whitening import Whitening
from service.fitting.reference.kernels import Kernels
from service.fitting.reference.least_squares import LeastSquares

#: Roots of the inverse are found in another way outside these bounds: the inverse may have left float64.
_LEAST, _LARGEST = 1e-145, 1e145


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How far the coefficients may be off.

    Attributes
    ----------
    std_errors
        (m, q), NaN where there is none; 0 or infinite where it leaves float64.
    matrices
        (m, m) for each target, None unless asked for.
    df
        Of the t distribution; 0 where there is nothing.
    reason
        Why some, or all, do not exist.
    """

    std_errors: FloatArray
    matrices: tuple[FloatArray, ...] | None
    df: int
    reason: str | None

    @classmethod
    def none(cls, parameters: int, targets: int, wanted: bool, reason: str) -> "Uncertainty":
        """Nothing but the reason."""
        matrices = (np.full((parameters, parameters), np.nan),) * targets if wanted else None
        return cls(np.full((parameters, targets), np.nan), matrices, 0, reason)

    def without_spread(self, exact: Sequence[bool]) -> "Uncertainty":
        """The same, with 0 for the targets (q,) that are fitted exactly; NaN stays."""
        matrices = self.matrices
        if matrices is not None:
            matrices = tuple(matrix * 0.0 if zero else matrix for matrix, zero in zip(matrices, exact, strict=True))
        return replace(self, std_errors=np.where(exact, self.std_errors * 0.0, self.std_errors), matrices=matrices)


def classical(solution: LeastSquares, deviations: FloatArray, df: int, wanted: bool, kernels: Kernels) -> Uncertainty:
    """s^2 (A'SA)^-1, for residual standard deviations s (q,) with `df` degrees of freedom.

    The design is not looked at again.
    """
    errors = unit_errors(solution, kernels)[:, None] * deviations
    matrices = tuple(finite(solution.inverse * of * of) for of in deviations) if wanted else None
    return Uncertainty(errors, matrices, df, None)


def unit_errors(solution: LeastSquares, kernels: Kernels) -> FloatArray:
    """(m,) the roots of the diagonal of (A'SA)^-1; NaN for coefficients that the data do not determine."""
    errors: FloatArray = np.sqrt(solution.inverse.diagonal())
    known = errors if solution.is_full_rank else errors[solution.identified]
    if known.min(initial=1.0) > _LEAST and known.max(initial=1.0) < _LARGEST:
        return errors
    return np.where(solution.identified, Whitening.of(solution, kernels).unit_errors(), np.nan)


def finite(values: FloatArray) -> FloatArray:
    """NaN for what is infinite."""
    return np.where(np.isfinite(values), values, np.nan)
