"""The rows of a fit as JSON: columns side by side, one entry a row."""

from pydantic import Field

from service.api.schemas.bodies import ResponsePart

Reals = list[float | None] | None


class ObservationColumns(ResponsePart):
    """Entries of a row belong together. A column that was not asked for is null."""

    row: list[int] | None = Field(description="The row's number in the dataset, from 0.")
    observed: Reals = Field(description="The target itself.")
    fitted: Reals = Field(description="By the reference's coefficients.")
    residual: Reals = Field(description="Observed minus fitted, not weighted.")
    leverage: Reals = Field(description="How far the fitted value follows the observed one, 0 to 1.")
    studentised_internal: Reals = Field(description="The residual over its standard error: R's rstandard.")
    studentised_external: Reals = Field(
        description="The same with the residual variance of the fit without the row: R's rstudent."
    )
    cooks_distance: Reals = Field(description="How far all coefficients would move without the row.")
    dffits: Reals = Field(description="How far the row's fitted value would move without it, in standard errors.")


class Observations(ResponsePart):
    """What each row weighs in the reference of one target, and how far off it lies."""

    target: str
    targets: list[str] = Field(description="All there are, to ask for.")
    rows: int = Field(description="Rows of the dataset.")
    reason: str | None = Field(description="Why some entries are null; null where none is.")
    columns: ObservationColumns
