"""What a descent wrote down, in part or whole, in the format the client likes best."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response
from pydantic import Field

from service.api import formats
from service.api.answers import FITS, over, trajectory_answer
from service.api.backing import Backing, backing_of
from service.api.negotiation import choose
from service.api.reading import contract_router
from service.api.refusals import NotFound
from service.api.routes.documented import problems
from service.api.routes.tabular import TABLE, Accept, TableQuery, fields_of, table_response
from service.api.schemas.bodies import LARGEST_INT64
from service.api.schemas.trajectory import Trajectory
from service.api.trajectory_columns import FIELDS, Units, nothing, select
from service.jobs.trajectories import Rows

router = contract_router("fits")


class TrajectoryQuery(TableQuery):
    """Which part of a trajectory to send. A row is known by its step."""

    limit: Annotated[
        int | None,
        Field(
            ge=2,
            le=LARGEST_INT64,
            description="Rows; more are thinned evenly. The first and the last are kept, and from 3 on that of least "
            "loss too.",
        ),
    ] = None
    fields: Annotated[str | None, fields_of(FIELDS)] = None
    units: Annotated[Units, Field(description="The user's, or those descent ran in.")] = "original"


@router.get(
    FITS + "/{fit_id}/trajectory",
    response_model=Trajectory,
    response_description="The rows and columns that were asked for.",
    responses=problems(404, 406, 409, 503) | TABLE,
)
async def get_trajectory(
    fit_id: UUID,
    query: Annotated[TrajectoryQuery, Query()],
    services: Annotated[Backing, Depends(backing_of)],
    accept: Accept = None,
) -> Response:
    """Return what a descent wrote down, rows numbered by step: JSON, CSV, NDJSON, Parquet or Arrow."""
    media_type = choose(accept, formats.OFFERED)
    selection = query.selection(FIELDS)
    record = over(await services.fits.get(fit_id), fit_id, "recorded steps")
    if record.status == "failed":
        raise NotFound("The fit has failed: there are no recorded steps.")
    rows = Rows(query.first, query.last, query.limit)
    trajectory = await services.fits.trajectory(fit_id, rows)
    if trajectory is None:
        table = nothing(selection.fields)
    else:
        table = await asyncio.to_thread(select, trajectory, selection.fields, query.units)
    extent = None if record.trajectory or trajectory is None else await services.fits.extent(fit_id)
    return table_response(trajectory_answer(record, query.units, extent), table, FIELDS, media_type)
