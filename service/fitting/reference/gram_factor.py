"""Cholesky of a Gram matrix, if its estimated condition number allows."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpocon, dpotrf, dpotri, dpotrs

from service.fitting.arrays import FloatArray

#: Squares of columns must stay well inside float64.
LEAST_SQUARE, LARGEST_SQUARE = 1e-200, 1e200


@dataclass(frozen=True, eq=False)
class GramFactor:
    """R'R = D (A'A + diag(penalties)) D with D = diag(scale), powers of two that bring the diagonal near 1."""

    triangle: FloatArray
    scale: FloatArray
    condition: float

    def solve(self, right: FloatArray) -> FloatArray:
        """(A'A + diag(penalties))^-1 right, for right (m, q)."""
        solution, _ = dpotrs(self.triangle, right * self.scale[:, None])
        return np.asarray(solution * self.scale[:, None])

    def inverse(self) -> FloatArray:
        """(m, m)."""
        return inverse_of_square(self.triangle) * self.scale[:, None] * self.scale


def inverse_of_square(triangle: FloatArray) -> FloatArray:
    """(R'R)^-1 (m, m) for R upper triangular, with zeros below its diagonal."""
    upper, _ = dpotri(triangle)
    return mirrored(upper)


def mirrored(upper: FloatArray) -> FloatArray:
    """The symmetric matrix (m, m) with this upper triangle, below the diagonal of which there are zeros."""
    full: FloatArray = upper + upper.T
    full[np.diag_indices(len(full))] *= 0.5
    return full


def factor_gram(gram: FloatArray, condition: float) -> GramFactor | None:
    """The factor of a Gram matrix (m, m), or None where it is out of range or its condition above `condition`."""
    diagonal = gram.diagonal()
    if not (diagonal.min() > LEAST_SQUARE and diagonal.max() < LARGEST_SQUARE):
        return None
    _, exponents = np.frexp(diagonal)
    scale = np.ldexp(1.0, -(exponents // 2))
    scaled = gram * scale[:, None] * scale
    triangle, failed = dpotrf(scaled, clean=1)
    if failed:
        return None
    reciprocal, _ = dpocon(triangle, np.abs(scaled).sum(axis=0).max())
    return GramFactor(triangle, scale, 1.0 / reciprocal) if reciprocal * condition >= 1.0 else None
