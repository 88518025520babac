"""What a descent wrote down, in part or whole, in the format the client likes best."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from pydantic_core import to_json

from service.api import formats
from service.api.answers import FITS, RETRY_AFTER, found, is_finished, trajectory_answer
from service.api.backing import Backing, backing_of
from service.api.columns import FIELDS, Selection, Table, Units, json_columns, nothing, select
from service.api.columns import Field as ColumnField
from service.api.negotiation import choose
from service.api.reading import contract_router
from service.api.refusals import NotFinished, NotFound, invalid_parameter
from service.api.routes.documented import headers, problems
from service.api.schemas.bodies import LARGEST_INT64
from service.api.schemas.trajectory import Trajectory
from service.jobs.records import FitRecord

router = contract_router("fits")


_ANY_FIELD = f"({'|'.join(FIELDS)})"


def _in_a_list(schema: dict[str, Any]) -> None:
    schema["pattern"] = f"^{_ANY_FIELD}(,{_ANY_FIELD})*$"


class TrajectoryQuery(BaseModel):
    """Which part of a trajectory to send."""

    first: Annotated[int, Field(alias="from", ge=0, le=LARGEST_INT64, description="First step, included.")] = 0
    last: Annotated[int | None, Field(alias="to", ge=0, le=LARGEST_INT64, description="Last step, included.")] = None
    limit: Annotated[
        int | None,
        Field(ge=2, le=LARGEST_INT64, description="Rows; more are thinned evenly, first and last kept."),
    ] = None
    fields: Annotated[
        str | None,
        Field(description=f"Separated by commas, of: {', '.join(FIELDS)}.", json_schema_extra=_in_a_list),
    ] = None
    units: Annotated[Units, Field(description="The user's, or those descent ran in.")] = "original"


_TEXT, _BINARY = {"schema": {"type": "string"}}, {"schema": {"type": "string", "format": "binary"}}
_TRAJECTORY_FORMATS = {
    formats.CSV: _TEXT,
    formats.NDJSON: _TEXT,
    formats.PARQUET: _BINARY,
    formats.ARROW: _BINARY,
}


@router.get(
    FITS + "/{fit_id}/trajectory",
    response_model=Trajectory,
    response_description="The rows and columns that were asked for.",
    responses=problems(404, 406, 409, 503) | {200: {"content": _TRAJECTORY_FORMATS} | headers("Vary")},
)
async def get_trajectory(
    fit_id: UUID,
    query: Annotated[TrajectoryQuery, Query()],
    services: Annotated[Backing, Depends(backing_of)],
    # OpenAPI has no such parameter: the media types stand with the answer.
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Return what a descent wrote down: columns as JSON or CSV, rows as NDJSON, or Parquet or Arrow."""
    media_type = choose(accept, formats.OFFERED)
    selection = _selection(query)
    record = _with_answer(found(await services.fits.get(fit_id), fit_id))
    trajectory = await services.fits.trajectory(fit_id)
    table = nothing(selection) if trajectory is None else select(trajectory, selection)
    return await _table_response(record, table, selection, media_type)


def _with_answer(record: FitRecord) -> FitRecord:
    if not is_finished(record):
        raise NotFinished(f"The fit is {record.status}; its trajectory comes with its end.", headers=RETRY_AFTER)
    if record.report is None:
        raise NotFound(f"The fit has {record.status}: it has no trajectory.")
    return record


def _selection(query: TrajectoryQuery) -> Selection:
    if query.last is not None and query.last < query.first:
        raise invalid_parameter("to", "It is before `from`.", f"at least {query.first}")
    fields = FIELDS if query.fields is None else tuple(dict.fromkeys(map(_field, query.fields.split(","))))
    return Selection(query.first, query.last, query.limit, fields, query.units)


def _field(name: str) -> ColumnField:
    found = next((field for field in FIELDS if field == name.strip()), None)
    if found is None:
        raise invalid_parameter("fields", f"There is no column {name[:40]!r}.", ", ".join(FIELDS))
    return found


async def _table_response(record: FitRecord, table: Table, selection: Selection, media_type: str) -> Response:
    sent = {"Vary": "Accept"}
    if media_type != formats.JSON:
        return StreamingResponse(formats.WRITERS[media_type](table), 200, sent, media_type)
    body = await asyncio.to_thread(_as_json, record, table, selection.units)
    return Response(body, 200, sent, media_type)


def _as_json(record: FitRecord, table: Table, units: Units) -> bytes:
    return to_json(trajectory_answer(record, units, json_columns(table)), inf_nan_mode="null")
