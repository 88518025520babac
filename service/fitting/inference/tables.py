"""What inference answers: plain numbers, made to be stored. NaN is "there is none", and `reason` says why."""

from dataclasses import dataclass

from service.fitting.inference.options import StandardErrors


@dataclass(frozen=True)
class Spread:
    """How well the data determine one coefficient of one target; all NaN where they do not."""

    std_error: float
    t: float
    p: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class TargetSummary:
    """One target's fit as a whole.

    Attributes
    ----------
    r_squared, adjusted_r_squared
        1 - RSS / TSS, about the mean where there is an intercept, about 0 where there is none (as R and statsmodels).
    residual_sd
        sqrt(RSS / df_residual), the weights inside RSS.
    f, f_p
        Of all terms but the intercept, classical whatever the standard errors are.
    log_likelihood, aic, bic
        Gaussian, as statsmodels counts: -2 log L + 2 k and + k log n with k = rank. R's AIC counts the variance too,
        and is larger by 2.
    observations
        Rows with a positive weight.
    df_model, df_residual
        Rank less the intercept; observations less rank.
    reason
        Why some of these do not exist; None where all do.
    """

    target: str
    r_squared: float
    adjusted_r_squared: float
    residual_sd: float
    f: float
    f_p: float
    log_likelihood: float
    aic: float
    bic: float
    observations: int
    df_model: int
    df_residual: int
    reason: str | None


@dataclass(frozen=True)
class CovarianceMatrix:
    """Of one target's coefficients, (m, m), in the order of `terms`; NaN for those the data do not determine."""

    target: str
    terms: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Collinearity:
    """Belsley, Kuh and Welsch 1980, chapter 3.

    Attributes
    ----------
    variance_inflation
        (m,) 1 / (1 - R_j^2), R_j^2 of each term on the others; NaN for the intercept and where the rank is short.
    condition_indices
        (m,) largest singular value of the columns brought to length 1 over each singular value, ascending.
    variance_proportions
        (m, m): row k says which share of each coefficient's variance goes with condition index k; columns sum to 1.
    """

    terms: tuple[str, ...]
    variance_inflation: tuple[float, ...]
    condition_indices: tuple[float, ...]
    variance_proportions: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class InferenceReport:
    """How the standard errors were found.

    `df` are the degrees of freedom of the t distribution behind p and the intervals: df_residual, or groups - 1 for
    ``clustered``. `reason` says why there are none, None where there are.
    """

    standard_errors: StandardErrors
    confidence_level: float
    df: int
    reason: str | None
