"""A fit beside its reference, coefficient by coefficient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.inference.tables import Spread
from service.fitting.model import Model
from service.fitting.reference.least_squares import LeastSquares
from service.fitting.reference.solved import MOST_DIGITS
from service.fitting.solution import Coefficient, ReferenceReport


@dataclass(frozen=True, eq=False)
class References:
    """What a fit is compared with, in the user's units.

    Attributes
    ----------
    original
        The minimiser of the fit's own objective, the penalty inside.
    unpenalised
        The least-squares answer; the same object where there is no penalty.
    """

    original: LeastSquares
    unpenalised: LeastSquares

    @property
    def is_penalised(self) -> bool:
        return self.original is not self.unpenalised


def matching_digits(estimate: FloatArray, reference: FloatArray) -> FloatArray:
    """The logarithmic relative error, elementwise; NaN where either is not finite.

    -log10(|estimate - reference| / |reference|), absolute where the reference is 0, between 0 and `MOST_DIGITS`
    (McCullough 1998, "Assessing the reliability of statistical software: Part I", section 3).
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        error = np.abs(estimate - reference)
        error = np.where(reference == 0.0, error, error / np.abs(reference))
        return np.minimum(np.maximum(-np.log10(error), 0.0), MOST_DIGITS)


def compare(
    model: Model,
    estimate: FloatArray,
    scaled_estimate: FloatArray,
    found: References,
    spreads: Sequence[Spread],
) -> tuple[Coefficient, ...]:
    """All coefficients, target by target, from parameter matrices (m, q) and as many `spreads` in that order."""
    reference = found.original.parameters
    with np.errstate(over="ignore", invalid="ignore"):
        difference = estimate - reference
    # Whether the data determine it is a question to the data: a penalty would answer for them.
    identified = found.unpenalised.identified.tolist() * len(model.targets)
    rows = zip(
        (target for target in model.targets for _ in model.terms),
        model.terms * len(model.targets),
        *(_listed(matrix) for matrix in (estimate, reference, difference, matching_digits(estimate, reference))),
        identified,
        _listed(scaled_estimate),
        _listed(found.unpenalised.parameters) if found.is_penalised else (None for _ in identified),
        strict=True,
    )
    return tuple(Coefficient(*row, *_numbers(spread)) for row, spread in zip(rows, spreads, strict=True))


def _numbers(spread: Spread) -> tuple[float, ...]:
    return spread.std_error, spread.t, spread.p, spread.ci_low, spread.ci_high


def _listed(matrix: FloatArray) -> list[float]:
    """(m, q) target by target."""
    numbers: list[float] = matrix.T.ravel().tolist()
    return numbers


def describe(model: Model, found: References) -> ReferenceReport:
    """How the reference was found, and what the data leave open."""
    data = found.unpenalised
    return ReferenceReport(
        objective="ridge" if found.is_penalised else "least_squares",
        method=found.original.method,
        rank=data.rank,
        parameters=len(data.parameters),
        rank_tolerance=data.rank_tolerance,
        condition_number=data.condition_number,
        certified_digits=found.original.certified_digits,
        null_directions=data.null_directions(model.terms),
    )
