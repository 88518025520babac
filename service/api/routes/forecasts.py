"""What a fit would do, without doing it."""

import asyncio
from typing import Annotated

from fastapi import Depends, Request, Response

from service.api.answers import json_response
from service.api.backing import Backing, backing_of
from service.api.diagnosing import forecast_answer
from service.api.mapping import submission_of
from service.api.reading import contract_router
from service.api.refusals import invalid_place
from service.api.routes.documented import problems
from service.api.schemas.forecast import Forecast
from service.api.schemas.request import FitRequest
from service.api.schemas.solver import Exact

router = contract_router("forecasts")


@router.post(
    "/v1/forecasts",
    response_model=Forecast,
    response_description="What the descent will do.",
    responses=problems(503, body=True),
)
async def create_forecast(
    body: FitRequest, request: Request, services: Annotated[Backing, Depends(backing_of)]
) -> Response:
    """Forecast a descent, given as the body of `POST /v1/fits`: whether, where and when it arrives, and what keeps it.

    Nothing is run, queued or stored. Where it leads and where it will be after the steps that are asked for are worked
    out in closed form, but for adaptive optimizers and changing learning rates, whose steps are simulated on the
    batches' sums. A second forecast of the same data is quicker: what was worked out of them is kept for a while.
    """
    if isinstance(body.solver, Exact):
        message = "An exact fit takes no steps: there is nothing to forecast."
        raise invalid_place(("solver", "kind"), message, "'descent'")
    turn: asyncio.Semaphore = request.app.state.forecasting
    async with turn:
        known = services.forecaster
        submission = await submission_of(body, known, services.fits, problem_of=known.problem)
        task, dataset = submission.asked.task, submission.asked.dataset
        forecast = await asyncio.to_thread(known.forecast, task, dataset, submission.ended)
    return json_response(forecast_answer(forecast))
