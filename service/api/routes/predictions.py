"""What a fit and its reference say of new rows."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from service.api.answers import FITS, finished, json_response
from service.api.backing import Backing, backing_of
from service.api.predicting import predictions_of
from service.api.reading import contract_router
from service.api.recomputing import Recomputed, from_reference
from service.api.routes.documented import problems
from service.api.schemas.prediction import PredictionRequest, Predictions

router = contract_router("fits")


@router.post(
    FITS + "/{fit_id}/predictions",
    response_model=Predictions,
    response_description="One prediction for each row and target.",
    responses=problems(404, 409, 503, body=True),
)
async def predict(
    fit_id: UUID,
    body: PredictionRequest,
    request: Request,
    services: Annotated[Backing, Depends(backing_of)],
) -> Response:
    """Predict new rows, by the fit's coefficients and by the reference's, with intervals, and say which extrapolate."""
    record, report = finished(await services.fits.get(fit_id), fit_id, "predictions")

    def answer(recomputed: Recomputed) -> Response:
        return json_response(predictions_of(body, report, recomputed))

    return await from_reference(request, services, record, answer)
