"""Which standard errors, at which level, and what else is asked for: the part of a request about inference."""

from dataclasses import dataclass
from typing import Literal

StandardErrors = Literal["classical", "hc0", "hc1", "hc2", "hc3", "clustered"]


@dataclass(frozen=True)
class Inference:
    """Options only; `infer` does the work.

    Attributes
    ----------
    standard_errors
        ``classical``: s^2 (A'A)^-1. ``hc0`` to ``hc3``: White's sandwich and its small-sample kin (MacKinnon and White
        1985). ``clustered``: rows may be correlated within the groups of `clusters` (Liang and Zeger 1986).
    clusters
        The column that names each row's group by a number; None unless ``clustered``.
    confidence_level
        Of every interval, above 0 and below 1.
    covariance
        Whether the covariance matrix of the coefficients is wanted.
    collinearity
        Whether variance inflation factors, condition indices and variance proportions are wanted.
    """

    standard_errors: StandardErrors = "classical"
    clusters: str | None = None
    confidence_level: float = 0.95
    covariance: bool = False
    collinearity: bool = False
