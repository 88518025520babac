"""How an answer stands beside the reference: the facts that decide what is said of it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.comparison import matching_digits
from service.fitting.others.printed import Printed
from service.fitting.others.question import Question, ReferenceFacts
from service.fitting.reference.equilibration import column_exponents, scaled_by
from service.fitting.reference.solved import MOST_DIGITS

#: A coefficient whose part in the fitted values is below this of the largest part comes to nothing, and its digits are
#: those of rounding.
NOTHING_BELOW = 1e-12


@dataclass(frozen=True, eq=False)
class Standing:
    """An answer, what was asked, and the reference (m, q).

    Coefficients are weighed by their part in the fitted values, |w_j| times the length of column j. To keep columns of
    all sizes in range these are formed from columns and targets brought to comparable size by powers of two.
    """

    question: Question
    reference: FloatArray
    facts: ReferenceFacts
    printed: Printed

    @cached_property
    def estimate(self) -> FloatArray:
        """(m, q) the coefficients, 0 for a column that was left out: the model without it."""
        omitted = {omission.term for omission in self.printed.omissions}
        out = np.array([term in omitted for term in self.question.terms])
        return np.where(out[:, None], 0.0, self.printed.coefficients)

    @cached_property
    def digits(self) -> FloatArray:
        """(m, q) matching digits, all of them for a pair of coefficients that come to nothing."""
        return np.where(self._is_nothing & np.isfinite(self._all_digits), MOST_DIGITS, self._all_digits)

    @property
    def uncounted_terms(self) -> list[str]:
        """Terms with fewer digits than the fewest that count."""
        fewer = self._is_nothing & (self._all_digits < self.fewest_digits)
        return [term for term, row in zip(self.question.terms, fewer, strict=True) if row.any()]

    @property
    def fewest_digits(self) -> float:
        return float(self.digits.min()) if self.digits.size else MOST_DIGITS

    @property
    def worst_term(self) -> str:
        """The term with the fewest digits."""
        return self.question.terms[int(self.digits.min(axis=1).argmin())]

    @cached_property
    def digits_of_fitted_values(self) -> float:
        """-log10(|A (w - w*)| / |A w*|) over all targets, at most `MOST_DIGITS`; NaN where it overflows."""
        apart = float(np.linalg.norm(self._scaled_design @ self._in_scale(self.estimate - self.reference)))
        size = float(np.linalg.norm(self._scaled_design @ self._in_scale(self.reference)))
        if apart == 0.0:
            return MOST_DIGITS
        return float(np.clip(-np.log10(apart / size), 0.0, MOST_DIGITS)) if size > 0.0 else 0.0

    @cached_property
    def tangent(self) -> float:
        """|Y - A W*| / |A W*|, with which the square of the condition number comes in (Golub and Van Loan, 5.3.7)."""
        fitted = self._scaled_design @ self._in_scale(self.reference)
        size = float(np.linalg.norm(fitted))
        left = scaled_by(self.question.weighted_targets, -self._target_exponents) - fitted
        return float(np.linalg.norm(left)) / size if size > 0.0 else np.inf

    @cached_property
    def smallness_of_worst(self) -> float:
        """How many times larger the largest part in the fitted values is than that of the worst coefficient."""
        j, k = np.unravel_index(int(self.digits.argmin()), self.digits.shape)
        parts = self._parts(self.reference)[:, k]
        return float(parts.max() / parts[j]) if parts[j] > 0.0 else np.inf

    @cached_property
    def _all_digits(self) -> FloatArray:
        return matching_digits(self.estimate, self.reference)

    @cached_property
    def _is_nothing(self) -> BoolArray:
        reference, estimate = self._parts(self.reference), self._parts(self.estimate)
        largest = reference.max(axis=0, initial=0.0)
        return np.asarray(np.maximum(reference, estimate) <= NOTHING_BELOW * largest, dtype=np.bool_)

    def _parts(self, coefficients: FloatArray) -> FloatArray:
        sizes = np.linalg.norm(self._scaled_design, axis=0)
        return np.asarray(np.abs(self._in_scale(coefficients)) * sizes[:, None], dtype=np.float64)

    def _in_scale(self, coefficients: FloatArray) -> FloatArray:
        return scaled_by(scaled_by(coefficients.T, self._exponents).T, -self._target_exponents)

    @cached_property
    def _exponents(self) -> FloatArray:
        return column_exponents(self.question.weighted_design)

    @cached_property
    def _target_exponents(self) -> FloatArray:
        return column_exponents(self.question.weighted_targets)

    @cached_property
    def _scaled_design(self) -> FloatArray:
        return scaled_by(self.question.weighted_design, -self._exponents)
