"""Many fits, asked for at once."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, SkipValidation

from service.api.schemas.bodies import RequestPart, ResponsePart
from service.api.schemas.fit import FitLinks, FitStatus
from service.api.schemas.request import FitRequest

MOST_FITS = 1000


class BatchRequest(RequestPart):
    """Fits, each as `POST /v1/fits` takes one. All of them are taken on, or none."""

    # They are validated one after the other, so that others are answered in between: see `batching`.
    fits: Annotated[list[SkipValidation[FitRequest]], Field(min_length=1, max_length=MOST_FITS)]


class BatchedFit(ResponsePart):
    """A fit that was taken on together with others."""

    id: UUID
    status: FitStatus | None = Field(description="Null where it is known by its Idempotency-Key and has been deleted.")
    cached: bool = Field(description="Whether it had been finished before, by an identical request.")
    links: FitLinks


class Batch(ResponsePart):
    """The fits, in the order in which they were asked for."""

    fits: list[BatchedFit]
