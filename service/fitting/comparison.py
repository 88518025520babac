"""A fit beside its reference, coefficient by coefficient."""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.model import Model
from service.fitting.reference.least_squares import LeastSquares
from service.fitting.solution import Coefficient, ReferenceReport

#: -log10 of the unit roundoff 2^-53: no two different float64 numbers match in more.
MOST_DIGITS = float(-np.log10(2.0**-53))


def matching_digits(estimate: FloatArray, reference: FloatArray) -> FloatArray:
    """The logarithmic relative error, elementwise; NaN where either is not finite.

    -log10(|estimate - reference| / |reference|), absolute where the reference is 0, between 0 and `MOST_DIGITS`
    (McCullough 1998, "Assessing the reliability of statistical software: Part I", section 3).
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        error = np.abs(estimate - reference)
        error = np.where(reference == 0.0, error, error / np.abs(reference))
        return np.clip(-np.log10(error), 0.0, MOST_DIGITS)


def compare(
    model: Model, estimate: FloatArray, scaled_estimate: FloatArray, solution: LeastSquares
) -> tuple[Coefficient, ...]:
    """All coefficients, target by target, from parameter matrices (m, q)."""
    reference = solution.parameters
    with np.errstate(over="ignore", invalid="ignore"):
        difference = estimate - reference
    digits = matching_digits(estimate, reference)
    return tuple(
        Coefficient(
            target=target,
            term=term,
            estimate=float(estimate[j, k]),
            reference=float(reference[j, k]),
            difference=float(difference[j, k]),
            matching_digits=float(digits[j, k]),
            identified=bool(solution.identified[j]),
            scaled_estimate=float(scaled_estimate[j, k]),
        )
        for k, target in enumerate(model.targets)
        for j, term in enumerate(model.terms)
    )


def describe(solution: LeastSquares) -> ReferenceReport:
    """How the reference was found."""
    method = "householder_qr_refined" if solution.is_full_rank else "householder_qr_least_norm"
    return ReferenceReport(
        method=method,
        rank=solution.rank,
        parameters=len(solution.parameters),
        rank_tolerance=solution.rank_tolerance,
        condition_number=solution.condition_number,
    )
