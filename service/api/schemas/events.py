"""What the events of a watched fit say, as JSON in their `data`."""

from typing import Literal

from pydantic import Field

from service.api.schemas.bodies import ResponsePart
from service.api.schemas.fit import FitError, FitLinks
from service.api.schemas.trajectory import TrajectoryColumns


class StatusEvent(ResponsePart):
    """How the fit stands: sent first, at every change, and last. After a final status nothing follows."""

    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "deleted"]
    attempt: int | None = Field(description="Null where the fit was deleted.")
    restarted: bool = Field(
        description="Whether the fit was started anew, after a crash or a shutdown, since the event before this one: "
        "points that were sent until now are void, and come again from the first one on."
    )
    outcome: Literal["exact", "converged", "step_limit", "time_limit", "diverged", "cancelled"] | None = Field(
        description="How it ended; null where it has no result."
    )
    error: FitError | None
    links: FitLinks


class PointsEvent(ResponsePart):
    """Rows of the trajectory, few enough to be shown; coefficients are null where there are many."""

    columns: TrajectoryColumns


#: What OpenAPI does not find by itself: a stream's schema is no route's.
EVENTS = (StatusEvent, PointsEvent)
