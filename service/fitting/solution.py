"""The answer to a fit: plain numbers, beside the trajectory's arrays."""

from dataclasses import dataclass, field
from typing import Literal

from service.fitting.descent.standing import Standing
from service.fitting.diagnosis.answer import Diagnosis
from service.fitting.inference.tables import Collinearity, CovarianceMatrix, InferenceReport, TargetSummary
from service.fitting.others.answer import OtherAnswer
from service.fitting.outcome import Outcome


@dataclass(frozen=True)
class Coefficient:
    """One parameter of one target, in the user's units, beside its reference.

    Attributes
    ----------
    matching_digits
        The logarithmic relative error -log10(|estimate - reference| / |reference|), absolute where the reference is
        0, between 0 and 15.95 (= -log10 2^-53).
    identified
        Whether the data determine this coefficient: its unit vector lies in the row space of the design.
    scaled_estimate
        The estimate in descent's units.
    unpenalised
        The least-squares coefficient without the penalty; None where there is no penalty, and the reference is it.
    std_error, t, p, ci_low, ci_high
        Of the reference; NaN where there are none, and `Report.inference` or `identified` says why.
    """

    target: str
    term: str
    estimate: float
    reference: float
    difference: float
    matching_digits: float
    identified: bool
    scaled_estimate: float
    unpenalised: float | None
    std_error: float
    t: float
    p: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class LossReport:
    """Full-data losses in the user's units. `initial` is None where nothing was started from.

    `excess` is final minus reference without cancellation: (1/d) |R (W - W*)|^2 over the loss's divisor d, R'R = A'SA
    and the penalty.
    """

    initial: float | None
    final: float
    reference: float
    excess: float


@dataclass(frozen=True)
class NullDirection:
    """A combination of columns that vanishes on every row.

    `name` says it in words: "x3 = 2 x1 - x2", "x2 is constant". `coefficients` belong to `terms`: their sum over the
    columns is 0. Both name only terms that take part.
    """

    name: str
    terms: tuple[str, ...]
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class ReferenceReport:
    """How the reference was found.

    Attributes
    ----------
    objective
        What it is the minimiser of: the sum of squares, or that with the penalty (``ridge``).
    method
        ``cholesky_refined``, ``cholesky_doubled_refined``, ``householder_qr_refined``, ``householder_qr_least_norm``.
    rank, parameters
        Numerical rank of the design, and its columns; equal where every coefficient is identified.
    rank_tolerance
        The cut-off, relative to the largest singular value of the equilibrated design.
    condition_number
        Of the design A = [1 X] as given, in the 2-norm; infinite where the rank is short.
    certified_digits
        Digits to which every coefficient is known to be right, from 0 to 15.95 (= -log10 2^-53).
    null_directions
        What the data leave undetermined, at most `MOST_NULL_DIRECTIONS` of parameters - rank.
    """

    objective: Literal["least_squares", "ridge"]
    method: str
    rank: int
    parameters: int
    rank_tolerance: float
    condition_number: float
    certified_digits: float
    null_directions: tuple[NullDirection, ...]


@dataclass(frozen=True)
class Report:
    """Everything of a solution but the trajectory: small, and made of plain numbers.

    `engine` names what did the work: ``least_squares``, ``numpy_rows``, ``tensorflow_xla``. The `diagnosis` of an exact
    answer is empty.
    """

    outcome: Outcome
    engine: str
    coefficients: tuple[Coefficient, ...]
    loss: LossReport
    reference: ReferenceReport
    summary: tuple[TargetSummary, ...]
    inference: InferenceReport
    covariance: tuple[CovarianceMatrix, ...] | None
    collinearity: Collinearity | None
    others: tuple[OtherAnswer, ...] | None
    diagnosis: Diagnosis = field(default_factory=Diagnosis)


@dataclass(frozen=True, eq=False)
class Solution:
    """A finished fit. `standing` is None where no steps were taken (`Exact`)."""

    report: Report
    standing: Standing | None
