"""The queue, as those see it who look after it."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from service.api.schemas.bodies import ResponsePart
from service.api.schemas.fit import FitError


class QueueLine(ResponsePart):
    """The queued fits of one priority."""

    priority: int
    depth: int
    oldest: float = Field(description="Seconds since the first of them was put into the queue.")


class Queue(ResponsePart):
    """How the queue is doing. Fits that were solved where they were asked for never were in it."""

    depth: int = Field(description="Fits that are queued.")
    running: int = Field(description="Fits that are running.")
    oldest: float | None = Field(
        description="Seconds since the oldest of those queued was put into the queue; null where none is."
    )
    arrivals: float = Field(description="Fits a second that were submitted, over the last minute.")
    rate: float = Field(description="Fits a second that were finished, however they ended, over the last minute.")
    workers: int = Field(description="Workers that listen.")
    busy: int = Field(description="How many of those have something to do.")
    lines: list[QueueLine] = Field(description="The queued fits by priority, the first to be begun first.")


class DeadLetterLinks(ResponsePart):
    """What can be done about it."""

    fit: str
    retry: str = Field(description="To be posted to.")


class DeadLetter(ResponsePart):
    """A fit that has failed: no worker will try it again of itself."""

    id: UUID
    labels: dict[str, str]
    attempts: int = Field(description="How often it was started.")
    failed_at: datetime
    error: FitError = Field(description="How its last attempt ended.")
    links: DeadLetterLinks


class DeadLetterPage(ResponsePart):
    """Failed fits, the latest failure first."""

    dead: list[DeadLetter]
    next_page_token: str | None = Field(description="Send it as page_token for the next page; null at the end.")
