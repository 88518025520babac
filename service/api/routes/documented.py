"""What the routes' declarations share: the errors each may answer with."""

from typing import Any

from service.api.schemas.problem import Problem

_MEANINGS = {
    400: "The body cannot be read.",
    404: "There is no such thing.",
    405: "The method is not allowed here.",
    406: "None of the media types on offer is acceptable.",
    409: "The fit is not finished.",
    413: "The body is too large.",
    415: "The body is of an unsupported type.",
    422: "The request is not valid.",
    500: "Something went wrong here.",
    503: "The service is not able to answer now.",
}
_ALWAYS = (405, 422, 500)
_WITH_BODY = (400, 413, 415)


def problems(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: those given, and those every route has."""
    every = sorted({*statuses, *_ALWAYS, *(_WITH_BODY if body else ())})
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in every}
