"""Many fits at once."""

from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Response

from service.api.answers import FITS, json_response, links_of
from service.api.backing import Backing, backing_of
from service.api.batching import checked, requests_of
from service.api.idempotency import KEY_PARAMETER, REPLAYED, answered_before, key_of
from service.api.preferences import CACHE_PARAMETER, wants_fresh
from service.api.reading import contract_router
from service.api.routes.documented import headers, problems
from service.api.schemas.batch import Batch, BatchRequest
from service.jobs.records import FitStatus
from service.jobs.submitting import KeyTaken

router = contract_router("fits")


@router.post(
    FITS + ":batch",
    response_model=Batch,
    status_code=202,
    response_description="All fits are taken on.",
    responses=problems(503, body=True) | {202: headers("Idempotent-Replayed")},
    openapi_extra={"parameters": [CACHE_PARAMETER, KEY_PARAMETER]},
)
async def create_fits(
    body: BatchRequest,
    request: Request,
    services: Annotated[Backing, Depends(backing_of)],
) -> Response:
    """Queue up to 1000 fits, each as `POST /v1/fits` takes it, all of them or none.

    They are answered in the order in which they were asked for, with their ids. None is solved at once, but those that
    are identical to finished ones are answered with these, as there. Of two that are identical to each other, both are
    run.
    """
    requests = await requests_of(body.fits)
    key = await key_of(request.headers.get("idempotency-key"), request.scope["path"], requests)
    fresh = wants_fresh(request.headers.getlist("cache-control"))
    while True:
        if known := await answered_before(key, services.fits):
            return _answer([_fit(named.id, named.status, cached=False) for named in known], REPLAYED)
        # The same batch may have come twice at once, and the other one was stored first.
        with suppress(KeyTaken):
            asked = await checked(requests, services.datasets, services.fits)
            taken = await services.fits.submit_all(asked, key, fresh=fresh)
            return _answer([_fit(fit.id, fit.status, cached=fit.cached) for fit in taken])


def _answer(fits: list[dict[str, Any]], sent: dict[str, str] | None = None) -> Response:
    return json_response({"fits": fits}, 202, sent)


def _fit(fit_id: UUID, status: FitStatus | None, *, cached: bool) -> dict[str, Any]:
    return {"id": fit_id, "status": status, "cached": cached, "links": links_of(fit_id, status)}
