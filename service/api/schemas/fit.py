"""A fit, from the queue to its answer. Numbers that are not finite are null."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from service.api.schemas.bodies import ResponsePart
from service.api.schemas.diagnosis import Causes, Directions, Remedies
from service.api.schemas.inference import Collinearity, CovarianceMatrix, Inference, OtherAnswer, TargetSummary
from service.api.schemas.request import FitRequest
from service.api.schemas.solver import Engine
from service.api.schemas.trajectory import Trajectory

FitStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Progress(ResponsePart):
    """How far a fit has got."""

    steps_done: int
    steps_total: int
    epochs_done: int
    loss: float | None = Field(description="On all rows, in the user's units; null before the first step.")
    excess: float | None = Field(description="The loss above the reference's, computed without cancellation.")
    steps_per_second: float | None = Field(
        description="Over the last few seconds; null where that is not known yet, or the fit no longer runs."
    )
    seconds_left: float | None = Field(
        description="Until all steps are taken at this rate; a stop rule may end the fit before. Null without a rate."
    )


class Outcome(ResponsePart):
    """How a fit ended. A fit that diverged has succeeded: it has a trajectory and a reference."""

    kind: Literal["exact", "converged", "step_limit", "time_limit", "diverged", "cancelled"]
    message: str
    steps: int
    epochs: int
    iterations: int = Field(
        description="The optimizer's updates, those of the fits it goes on from included; schedules go by them."
    )


class Coefficient(ResponsePart):
    """One parameter in the user's units, beside its reference."""

    target: str
    term: str
    estimate: float | None
    reference: float | None
    difference: float | None
    matching_digits: float | None = Field(description="Digits in which estimate and reference agree, 0 to 15.95.")
    identified: bool = Field(description="Whether the data determine this coefficient.")
    scaled_estimate: float | None = Field(description="The estimate in the units descent ran in.")
    unpenalised: float | None = Field(
        description="The least-squares coefficient without the penalty; null where there is no penalty."
    )
    std_error: float | None = Field(description="Of the reference, as the next four; null where there is none.")
    t: float | None = Field(description="Reference over standard error.")
    p: float | None = Field(description="Of a t as far from 0, on either side, were the coefficient 0.")
    ci_low: float | None = Field(description="The confidence interval's lower end.")
    ci_high: float | None = Field(description="The confidence interval's upper end.")


class LossComparison(ResponsePart):
    """Losses on all rows, in the user's units."""

    initial: float | None = Field(description="Null where nothing was started from.")
    final: float | None
    reference: float | None
    excess: float | None = Field(description="Final minus reference, computed without cancellation.")


class NullDirection(ResponsePart):
    """A combination of the design's columns that vanishes on every row."""

    name: str = Field(description="In words: `x3 = 2 x1 - x2`, `x2 is constant`.")
    terms: dict[str, float] = Field(description="The terms that take part, each with its coefficient.")


class Reference(ResponsePart):
    """How the reference was found."""

    objective: Literal["least_squares", "ridge"] = Field(description="What it minimises.")
    method: str
    certified_digits: float = Field(description="Digits to which every coefficient is known to be right, 0 to 15.95.")
    rank: int
    parameters: int = Field(description="Columns of the design; equal to the rank where all are identified.")
    rank_tolerance: float | None = Field(description="The cut-off, relative to the largest singular value.")
    condition_number: float | None = Field(description="Null where it is infinite: the rank is short.")
    null_directions: list[NullDirection] = Field(
        description="What the data leave undetermined; empty where all coefficients are identified."
    )


class FitResult(ResponsePart):
    """The answer beside its reference."""

    outcome: Outcome
    engine: Engine = Field(description="What did the work.")
    coefficients: list[Coefficient]
    loss: LossComparison
    summary: list[TargetSummary] = Field(description="Of the reference, one a target.")
    reference: Reference
    directions: Directions
    causes: Causes
    remedies: Remedies
    inference: Inference
    covariance: list[CovarianceMatrix] | None = Field(description="One a target; null unless asked for.")
    collinearity: Collinearity | None = Field(description="Null unless asked for.")
    others: list[OtherAnswer] | None = Field(description="Null unless asked for.")
    trajectory: Trajectory | None = Field(description="Null for an exact fit: it took no steps.")


class FitError(ResponsePart):
    """Why a fit failed."""

    code: str
    message: str


class FitLinks(ResponsePart):
    """Where to go from here."""

    self: str
    parent: str | None = Field(description="The fit whose remedy this one is, unless it has been deleted.")
    trajectory: str
    events: str = Field(description="Server-Sent Events: the fit as it runs.")
    observations: str
    predictions: str
    script: str = Field(description="A program that prints the same coefficients without the service.")
    cancel: str | None = Field(description="To be posted to; null once it is finished.")
    retry: str | None = Field(description="To be posted to; null unless it has failed.")


class Fit(ResponsePart):
    """One fit. `result` is there once it has succeeded, `error` once it has failed."""

    id: UUID
    status: FitStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    parent: UUID | None = Field(description="The fit whose remedy this one is; null where it was asked for as it is.")
    dataset: str = Field(description="The id of the dataset it is fitted to.")
    labels: dict[str, str]
    progress: Progress | None = Field(description="Null until it has started.")
    request: FitRequest = Field(
        description="What was asked, every default filled in; inline data replaced by its dataset's id."
    )
    cached: bool = Field(
        description="Whether this answers a request for a fit that had been finished before, by an identical one."
    )
    result: FitResult | None
    error: FitError | None
    links: FitLinks


class FitPage(ResponsePart):
    """Fits, newest first, without their trajectories' columns."""

    fits: list[Fit]
    next_page_token: str | None = Field(description="Send it as page_token for the next page; null at the end.")
