"""Programs that do a fit again without the service."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field

from service.api.answers import FITS, finished
from service.api.backing import Backing, backing_of
from service.api.reading import contract_router
from service.api.recomputing import Recomputed, from_reference
from service.api.refusals import invalid_parameter
from service.api.routes.documented import headers, problems
from service.fitting.descent.standing import Standing
from service.fitting.replay.replayed import Replayed, Target
from service.fitting.replay.script import script, targets_of
from service.fitting.solver import Solver

router = contract_router("fits")


class PythonResponse(Response):
    """A program in Python."""

    media_type = "text/x-python"


class ScriptQuery(BaseModel):
    """Which program to write."""

    target: Annotated[
        Target,
        Field(description="What it runs on: NumPy alone; or Keras, if the fit is a descent."),
    ] = "numpy"


@router.get(
    FITS + "/{fit_id}/script",
    response_class=PythonResponse,
    response_description="The program.",
    responses=problems(404, 409, 503) | {200: headers("Content-Disposition")},
)
async def get_script(
    fit_id: UUID,
    query: Annotated[ScriptQuery, Query()],
    request: Request,
    services: Annotated[Backing, Depends(backing_of)],
) -> Response:
    """Return a program of its own that prints the fit's coefficients: the same data, batches, start, updates and units.

    Up to 100 000 numbers stand in it; for more it takes the path of a CSV or NPZ file.
    """
    record, report = finished(await services.fits.get(fit_id), fit_id, "scripts")
    state = await services.fits.start_state(fit_id)
    ended = None if state is None else Standing.from_bytes(state)

    def written(recomputed: Recomputed) -> str:
        task = recomputed.task
        _check_target(query.target, task.solver)
        return script(Replayed(str(fit_id), task, recomputed.problem.dataset, report, ended), query.target)

    text = await from_reference(request, services, record, written)
    name = f"plumbline-{fit_id}-{query.target}.py"
    return PythonResponse(text, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _check_target(target: Target, solver: Solver) -> None:
    offered = targets_of(solver)
    if target not in offered:
        message = "An exact fit takes no steps: there is nothing for Keras to do."
        raise invalid_parameter("target", message, ", ".join(offered))
