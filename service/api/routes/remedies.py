"""What would help: a fit's remedies, started."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request, Response

from service.api.accepting import ACCEPTED, PARAMETERS, accept
from service.api.answers import FITS, finished
from service.api.backing import Backing, backing_of
from service.api.mapping import Submission, submission_of
from service.api.reading import contract_router
from service.api.refusals import NotFound
from service.api.routes.documented import problems
from service.api.schemas.fit import Fit
from service.api.schemas.request import FitRequest
from service.fitting.diagnosis.patches import merged

router = contract_router("fits")


@router.post(
    FITS + "/{fit_id}/remedies/{number}",
    response_model=Fit,
    status_code=201,
    response_description="The patched fit is finished.",
    responses=problems(404, 409, 503) | ACCEPTED,
    openapi_extra={"parameters": PARAMETERS},
)
async def apply_remedy(
    fit_id: UUID,
    number: Annotated[int, Path(ge=0, description="The remedy's number.")],
    request: Request,
    services: Annotated[Backing, Depends(backing_of)],
) -> Response:
    """Start the fit that one of a fit's remedies asks for: the same request with its patch merged in.

    It is answered as `POST /v1/fits` answers it, and names this fit as its `parent`. A 422 points into the patched
    request: what it asks for may be gone in the meantime.
    """
    return await accept(request, services, (), lambda: _patched(fit_id, number, services))


async def _patched(fit_id: UUID, number: int, services: Backing) -> Submission:
    record, report = finished(await services.fits.get(fit_id), fit_id, "remedies")
    patches = {remedy.number: remedy.patch for remedy in report.diagnosis.remedies}
    if number not in patches:
        there_are = f"remedy {number}: they go from 0 to {len(patches) - 1}" if patches else "remedies"
        raise NotFound(f"The fit has no {there_are}.")
    body = FitRequest.model_validate(merged(record.request, patches[number]))
    return await submission_of(body, services.datasets, services.fits, parent=fit_id)
