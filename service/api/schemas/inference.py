"""What an answer says about its reference besides the coefficients. What does not exist is null, with the reason."""

from pydantic import Field

from service.api.schemas.bodies import ResponsePart
from service.api.schemas.request import OtherName, StandardErrors

Reals = list[float | None]


class TargetSummary(ResponsePart):
    """The reference of one target as a whole; weights are inside every sum."""

    target: str
    r_squared: float | None = Field(
        description="About the mean where there is an intercept, about 0 where there is none."
    )
    adjusted_r_squared: float | None
    residual_sd: float | None = Field(description="Root of the squared residuals' sum over df_residual.")
    f: float | None = Field(description="Of all terms but the intercept; classical, whatever the standard errors are.")
    f_p: float | None
    log_likelihood: float | None = Field(description="Gaussian.")
    aic: float | None = Field(
        description="Counts the rank, as statsmodels does; R's counts one more, and is larger by 2."
    )
    bic: float | None
    observations: int = Field(description="Rows with a weight above 0.")
    df_model: int
    df_residual: int
    reason: str | None = Field(description="Why some of these are null; null where none is.")


class Inference(ResponsePart):
    """How the standard errors of the reference were found."""

    standard_errors: StandardErrors
    confidence_level: float
    df: int = Field(description="Degrees of freedom of the t distribution behind p and the intervals.")
    reason: str | None = Field(description="Why there are no standard errors; null where there are.")


class CovarianceMatrix(ResponsePart):
    """Of one target's coefficients."""

    target: str
    terms: list[str]
    matrix: list[Reals] = Field(description="Rows and columns in the order of `terms`.")


class Collinearity(ResponsePart):
    """How far the terms explain each other (Belsley, Kuh and Welsch 1980)."""

    terms: list[str]
    variance_inflation: Reals = Field(description="1 / (1 - R^2) of each term on the others; null for the intercept.")
    condition_indices: Reals = Field(description="Of the columns brought to length 1, ascending.")
    variance_proportions: list[Reals] = Field(
        description="A row each condition index: its share of each term's variance. The columns sum to 1."
    )


class OtherCoefficient(ResponsePart):
    """One coefficient as another program prints it."""

    target: str
    term: str
    estimate: float | None = Field(description="Null where that program prints NA, or nothing.")
    difference: float | None = Field(description="Estimate minus reference.")
    matching_digits: float | None


class OtherAnswer(ResponsePart):
    """What another program answers to the same data."""

    name: OtherName
    program: str = Field(description="What it is, with its version where it was really run.")
    emulated: bool = Field(description="Whether its documented algorithm was followed, the program itself not run.")
    rank: int | None = Field(description="As that program sees it; null where it does not say.")
    coefficients: list[OtherCoefficient]
    message: str = Field(description="Why it differs from the reference, or that it does not.")
