"""Events: a fit that is watched while it runs."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response

from service.api.answers import FITS
from service.api.backing import Backing, backing_of
from service.api.event_stream import MEDIA_TYPE, EventStream, EventStreams
from service.api.negotiation import choose
from service.api.reading import contract_router
from service.api.routes.documented import headers, problems
from service.api.routes.tabular import Accept

router = contract_router("fits")

_LAST_EVENT_ID = Header(
    alias="Last-Event-ID",
    pattern="^[0-9]{0,18}$",
    description="The id of the last event that came: points go on after it.",
)


@router.get(
    FITS + "/{fit_id}/events",
    response_class=Response,
    response_description="Events, as `text/event-stream`, until the fit is over.",
    responses=problems(404, 406, 503)
    | {200: {"content": {MEDIA_TYPE: {}}, **headers("Cache-Control", "X-Accel-Buffering")}},
)
async def watch_fit(
    fit_id: UUID,
    request: Request,
    services: Annotated[Backing, Depends(backing_of)],
    accept: Accept = None,
    last_event_id: Annotated[str | None, _LAST_EVENT_ID] = None,
) -> Response:
    """Watch a fit: Server-Sent Events `status` (`StatusEvent`), `progress` (`Progress`) and `points` (`PointsEvent`).

    Who reads slowly misses progress, never points. The id of every event is the step of the last point sent so far,
    empty while there is none; with it as `Last-Event-ID`, points go on after that step. They are the rows of the
    trajectory as far as a screen can show them, those of a finished fit too. When the fit starts anew, a `status` says
    so, and points come again from the first one. After a final `status` the stream ends. Lines that begin with a colon
    only keep the connection open.
    """
    choose(accept, [MEDIA_TYPE])
    streams: EventStreams = request.app.state.streams
    return EventStream(streams, services.feed, fit_id, int(last_event_id) if last_event_id else None)
