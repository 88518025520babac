"""What is done with fits that are accepted: cancelled, tried again, deleted."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Response

from service.api.accepting import fit_response
from service.api.answers import FITS, fit_path, found
from service.api.backing import Backing, backing_of
from service.api.reading import contract_router
from service.api.refusals import AlreadyFinished, NotFailed, NotFound, StillRunning
from service.api.routes.documented import headers, problems
from service.api.schemas.fit import Fit
from service.jobs.records import FitStatus

router = contract_router("fits")

Services = Annotated[Backing, Depends(backing_of)]

_RESPONSES: dict[int | str, dict[str, Any]] = problems(404, 409, 503) | {202: headers("Location", "Retry-After")}


@router.post(
    FITS + "/{fit_id}/cancel",
    response_model=Fit,
    status_code=202,
    response_description="The fit is cancelled, or will be in a moment.",
    responses=_RESPONSES,
)
async def cancel_fit(fit_id: UUID, services: Services) -> Response:
    """Cancel a fit: at once where it is queued, else its worker is told, and what was recorded so far is kept.

    One that is cancelled already is answered likewise.
    """
    status = _existing(await services.keeper.cancel(fit_id), fit_id)
    if status in ("succeeded", "failed"):
        raise AlreadyFinished(f"The fit has {status} already.")
    return await _accepted(fit_id, services)


@router.post(
    FITS + "/{fit_id}/retry",
    response_model=Fit,
    status_code=202,
    response_description="The fit is queued again.",
    responses=_RESPONSES,
)
async def retry_fit(fit_id: UUID, services: Services) -> Response:
    """Put a failed fit back into the queue, as new: its attempts are counted from the start.

    A fit that was cancelled is not tried again; its `request` can be sent to `POST /v1/fits`.
    """
    status = _existing(await services.keeper.retry(fit_id), fit_id)
    if status != "failed":
        raise NotFailed(f"The fit {_IS[status]}: only one that has failed is tried again.")
    return await _accepted(fit_id, services)


@router.delete(
    FITS + "/{fit_id}",
    response_class=Response,
    status_code=204,
    response_description="The fit is gone.",
    responses=problems(404, 409, 503),
)
async def delete_fit(fit_id: UUID, services: Services) -> Response:
    """Delete a fit that is not running, with its trajectory, and with its dataset if no other fit needs that."""
    status = _existing(await services.keeper.delete(fit_id), fit_id)
    if status == "running":
        raise StillRunning("The fit is running: cancel it first, and delete it when it has ended.")
    return Response(status_code=204)


async def _accepted(fit_id: UUID, services: Backing) -> Response:
    record = found(await services.fits.get(fit_id), fit_id)
    return await fit_response(record, services, 202, {"Location": fit_path(fit_id)})


def _existing(status: FitStatus | None, fit_id: UUID) -> FitStatus:
    if status is None:
        raise NotFound(f"There is no fit {fit_id}.")
    return status


_IS: dict[FitStatus, str] = {
    "queued": "is queued",
    "running": "is running",
    "succeeded": "has succeeded",
    "cancelled": "was cancelled",
}
