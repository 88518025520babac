"""What each row weighs in a fit's reference, and how far off it lies."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import Field

from service.api import formats
from service.api.answers import FITS, finished
from service.api.backing import Backing, backing_of
from service.api.negotiation import choose
from service.api.observation_columns import FIELDS, select
from service.api.reading import contract_router
from service.api.recomputing import Recomputed, from_reference
from service.api.refusals import invalid_parameter
from service.api.routes.documented import problems
from service.api.routes.tabular import TABLE, Accept, TableQuery, fields_of, table_response
from service.api.schemas.observation import Observations
from service.api.tables import Selection, Table
from service.fitting.inference.observations import observations
from service.fitting.solution import Report

router = contract_router("fits")


class ObservationsQuery(TableQuery):
    """Which rows and columns to send, of one target."""

    target: Annotated[str | None, Field(description="Whose rows; the first target's if left out.")] = None
    fields: Annotated[str | None, fields_of(FIELDS)] = None


@router.get(
    FITS + "/{fit_id}/observations",
    response_model=Observations,
    response_description="The rows and columns that were asked for.",
    responses=problems(404, 406, 409, 503) | TABLE,
)
async def get_observations(
    fit_id: UUID,
    query: Annotated[ObservationsQuery, Query()],
    request: Request,
    services: Annotated[Backing, Depends(backing_of)],
    accept: Accept = None,
) -> Response:
    """Return the rows of the dataset in the light of the reference, counted from 0: fitted values, residuals, leverage.

    They are computed when they are asked for. JSON, CSV, NDJSON, Parquet or Arrow.
    """
    media_type = choose(accept, formats.OFFERED)
    selection = query.selection(FIELDS)
    record, report = finished(await services.fits.get(fit_id), fit_id, "observations")
    target = _target(report, query.target)
    answer, table = await from_reference(
        request, services, record, lambda recomputed: _observed(recomputed, target, selection)
    )
    return table_response(answer, table, FIELDS, media_type)


def _target(report: Report, name: str | None) -> int:
    targets = [summary.target for summary in report.summary]
    if name is None:
        return 0
    if name not in targets:
        raise invalid_parameter("target", f"The fit has no target {name[:40]!r}.", ", ".join(targets)[:200])
    return targets.index(name)


def _observed(recomputed: Recomputed, target: int, selection: Selection) -> tuple[dict[str, Any], Table]:
    problem = recomputed.problem
    found = observations(recomputed.references.original, problem.y)
    answer = {
        "target": problem.model.targets[target],
        "targets": problem.model.targets,
        "rows": problem.dataset.rows,
        "reason": found.reasons[target],
    }
    return answer, select(found, problem.y, target, selection)
