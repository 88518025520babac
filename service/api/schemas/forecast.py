"""What a descent will do, computed without running it. Numbers that are not finite are null."""

from typing import Annotated

from pydantic import Field

from service.api.schemas.bodies import ResponsePart, meaning
from service.api.schemas.diagnosis import Causes, Directions, Remedies, StepsTo
from service.fitting.diagnosis.answer import Method

ForecastMethod = Annotated[
    Method,
    meaning(
        eigen="Powers of what each direction is multiplied by: full batches.",
        companion="The same with momentum.",
        epoch_map="Powers of what an epoch does: batches in a fixed order.",
        lyapunov="Mean and covariance over all orders of the rows: shuffled batches.",
        simulated="Steps on the batches' sums: adaptive optimizers, and rates that change.",
    ),
]


class ExpectedCoefficient(ResponsePart):
    """One parameter in the user's units."""

    target: str
    term: str
    expected: float | None
    sd: float | None = Field(description="Standard deviation over row orders; 0 where nothing hangs on chance.")


class Place(ResponsePart):
    """Where a descent is."""

    loss: float | None = Field(description="On all rows, in the user's units.")
    coefficients: list[ExpectedCoefficient]


class End(Place):
    """Where a descent is after the steps that are asked for."""

    steps: int = Field(description="Fewer than asked for where no more could be simulated in time.")


class Forecast(ResponsePart):
    """What the descent will do."""

    method: ForecastMethod
    exact: bool = Field(description="Whether the end is where the fit will end, up to rounding.")
    stable: bool | None = Field(description="Whether gaps shrink; null where nobody can say.")
    largest_stable_learning_rate: float | None = Field(
        description="Below it gaps shrink; null where nobody can say. Of a schedule, as if it held for all steps."
    )
    best_learning_rate: float | None = Field(
        description="The constant rate with which the slowest gap shrinks quickest; null where nobody can say."
    )
    directions: Directions
    steps_to: list[StepsTo] = Field(description="Of the gap over all coefficients in the units descent runs in.")
    end: End
    limit: Place | None = Field(
        description="Where it leads if it goes on for ever; null where it leads nowhere, or nobody can say."
    )
    trajectory_bytes: int = Field(description="What its recorded rows take in the store.")
    causes: Causes
    remedies: Remedies
