"""Fits: asked for, watched, listed."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from service.api.accepting import ACCEPTED, PARAMETERS, accept, fit_response
from service.api.answers import FITS, entity_tag, found, json_response, page_of
from service.api.backing import Backing, backing_of
from service.api.conditional import is_known
from service.api.mapping import submission_of
from service.api.page_tokens import position_of, token_after
from service.api.reading import contract_router
from service.api.refusals import invalid_parameter
from service.api.routes.documented import headers, problems
from service.api.schemas.fit import Fit, FitPage, FitStatus
from service.api.schemas.request import LABEL_KEY, LABEL_VALUE, FitRequest, Labels
from service.api.waiting import hold

LABEL_PREFIX = "label."

router = contract_router("fits")

Services = Annotated[Backing, Depends(backing_of)]


class WatchQuery(BaseModel):
    """How long to hold the answer back."""

    wait: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="Seconds to hold the answer until the fit is finished."),
    ] = 0.0


class PageQuery(BaseModel):
    """Which fits to list. Whatever else is given must be a label."""

    model_config = ConfigDict(extra="allow")

    status: FitStatus | None = None
    parent: Annotated[UUID | None, Field(description="The fit whose remedies they are.")] = None
    page_size: Annotated[int, Field(ge=1, le=200)] = 50
    page_token: Annotated[str | None, Field(description="The next_page_token of the page before.")] = None
    view: Annotated[
        Literal["full", "summary"],
        Field(description="How much of each fit: `summary` leaves out the result, which can be large, and says null."),
    ] = "full"


_LABELS = TypeAdapter(Labels)
_LABEL_PARAMETER = {
    "name": "labels",
    "in": "query",
    "required": False,
    "description": "Labels the fits must have: `label.<key>=<value>`, once a label.",
    "style": "form",
    "explode": True,
    "schema": {
        "type": "object",
        "propertyNames": {"pattern": "^label\\." + LABEL_KEY.removeprefix("^")},
        "additionalProperties": {"type": "string", "pattern": LABEL_VALUE},
    },
}


@router.post(
    FITS,
    response_model=Fit,
    status_code=201,
    response_description="The fit is finished.",
    responses=problems(503, body=True) | ACCEPTED,
    openapi_extra={"parameters": PARAMETERS},
)
async def create_fit(body: FitRequest, request: Request) -> Response:
    """Fit a linear model; a small fit may be finished when it is answered, unless with `Prefer: respond-async`.

    With `Prefer: wait=5` the answer is held back until the fit is finished, or 5 seconds. A fit that is identical to a
    finished one, of the same data, options and labels, is answered with that, as `cached`, unless with
    `Cache-Control: no-cache`, or where its numbers may differ from run to run: with `"backend": "tensorflow"`, and
    where it stops by the clock. One that is still queued or running answers nothing: the new one is a fit of its own.
    """
    services = await backing_of(request)
    return await accept(request, services, [body], lambda: submission_of(body, services.datasets, services.fits))


@router.get(
    FITS,
    response_model=FitPage,
    response_description="A page of fits.",
    responses=problems(503),
    openapi_extra={"parameters": [_LABEL_PARAMETER]},
)
async def list_fits(query: Annotated[PageQuery, Query()], services: Services) -> Response:
    """List fits, newest first, with their results but for what was recorded; without them where `view=summary`."""
    records = await services.fits.page(
        status=query.status,
        parent=query.parent,
        labels=_labels(query.model_extra or {}),
        size=query.page_size + 1,
        before=None if query.page_token is None else position_of(query.page_token),
        with_results=query.view == "full",
    )
    shown = records[: query.page_size]
    token = token_after(shown[-1]) if len(records) > len(shown) else None
    return json_response(page_of(shown, token))


@router.get(
    FITS + "/{fit_id}",
    response_model=Fit,
    response_description="The fit.",
    responses=problems(404, 503)
    | {
        200: headers("ETag", "Cache-Control", "Retry-After"),
        304: {"description": "It has not changed."} | headers("ETag", "Cache-Control"),
    },
)
async def get_fit(
    fit_id: UUID,
    query: Annotated[WatchQuery, Query()],
    request: Request,
    services: Services,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return a fit, at once or when it is finished."""
    seconds = min(query.wait, services.settings.max_wait_seconds)
    record = found(await hold(request, fit_id, seconds), fit_id)
    sent = {"ETag": entity_tag(record), "Cache-Control": "no-cache"}
    if is_known(if_none_match, sent["ETag"]):
        return Response(status_code=304, headers=sent)
    return await fit_response(record, services, 200, sent)


def _labels(extra: dict[str, Any]) -> dict[str, str]:
    labels = {}
    for name, value in extra.items():
        key = name.removeprefix(LABEL_PREFIX)
        if key == name:
            allowed = ", ".join([*PageQuery.model_fields, LABEL_PREFIX + "<key>"])
            raise invalid_parameter(name[:200], "There is no such parameter.", allowed)
        labels[key] = value
    try:
        return _LABELS.validate_python(labels)
    except ValidationError as error:
        key = "".join(str(part)[:200] for part in error.errors()[0]["loc"][:1])
        raise invalid_parameter(LABEL_PREFIX + key, "No fit has labels like this.", "labels a fit can have") from error
