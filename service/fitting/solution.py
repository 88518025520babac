"""The answer to a fit: plain numbers, beside the trajectory's arrays."""

from dataclasses import dataclass

from service.fitting.outcome import Outcome
from service.fitting.trajectory import Trajectory


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
    """

    target: str
    term: str
    estimate: float
    reference: float
    difference: float
    matching_digits: float
    identified: bool
    scaled_estimate: float


@dataclass(frozen=True)
class LossReport:
    """Full-data losses in the user's units. `initial` is None where nothing was started from.

    `excess` is final minus reference without cancellation: (1/d) |A (W - W*)|^2 over the loss's divisor d.
    """

    initial: float | None
    final: float
    reference: float
    excess: float


@dataclass(frozen=True)
class ReferenceReport:
    """How the reference was found.

    Attributes
    ----------
    rank, parameters
        Numerical rank of the design, and its columns; equal where every coefficient is identified.
    rank_tolerance
        The cut-off, relative to the largest singular value of the equilibrated design.
    condition_number
        Of the design A = [1 X] as given, in the 2-norm; infinite where the rank is short.
    """

    method: str
    rank: int
    parameters: int
    rank_tolerance: float
    condition_number: float


@dataclass(frozen=True)
class Report:
    """Everything of a solution but the trajectory: small, and made of plain numbers.

    `engine` names what did the work: ``least_squares``, ``numpy_rows``, ``tensorflow_xla``.
    """

    outcome: Outcome
    engine: str
    coefficients: tuple[Coefficient, ...]
    loss: LossReport
    reference: ReferenceReport


@dataclass(frozen=True, eq=False)
class Solution:
    """A finished fit. `trajectory` is None where no steps were taken (`Exact`)."""

    report: Report
    trajectory: Trajectory | None
