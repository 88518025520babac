"""What the routes' declarations share: the errors each may answer with, and the headers of answers."""

from typing import Any

from service.api.schemas.problem import Problem

_MEANINGS = {
    400: "The body cannot be read.",
    404: "There is no such thing.",
    405: "The method is not allowed here.",
    406: "None of the media types on offer is acceptable.",
    409: "The fit's status does not allow it.",
    413: "The body is too large.",
    415: "The body is of an unsupported type.",
    422: "The request is not valid.",
    500: "Something went wrong here.",
    503: "The service is not able to answer now.",
}
_ALWAYS = (405, 422, 500)
_WITH_BODY = (400, 413, 415)

_HEADERS = {
    "Accept": "The type of body that is read, where the type was wrong.",
    "Accept-Encoding": "The encoding of bodies that is read, where the encoding was wrong.",
    "Allow": "All methods of this path.",
    "Cache-Control": "Whether the answer may be kept, and used again without asking.",
    "Content-Disposition": "That it is a file, and its name.",
    "ETag": "Changes whenever the answer does; for If-None-Match.",
    "Idempotent-Replayed": "`true` where the request had been answered before, under the same Idempotency-Key.",
    "Location": "The fit's path.",
    "Preference-Applied": "What was made of `Prefer`; left out where that was not understood.",
    "Retry-After": "Seconds to wait before asking again; left out where the answer is final.",
    "X-Accel-Buffering": "That nobody on the way is to hold it back.",
    "Vary": "The request's header that the answer depends on.",
}
_OF_PROBLEMS = {405: ("Allow",), 409: ("Retry-After",), 415: ("Accept", "Accept-Encoding"), 503: ("Retry-After",)}


def problems(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: those given, and those every route has."""
    every = sorted({*statuses, *_ALWAYS, *(_WITH_BODY if body else ())})
    return {
        status: {"model": Problem, "description": _MEANINGS[status], **headers(*_OF_PROBLEMS.get(status, ()))}
        for status in every
    }


def headers(*names: str) -> dict[str, Any]:
    """The part of a response's declaration that names its headers."""
    if not names:
        return {}
    return {"headers": {name: {"description": _HEADERS[name], "schema": {"type": _type(name)}} for name in names}}


def _type(header: str) -> str:
    return "integer" if header == "Retry-After" else "string"
