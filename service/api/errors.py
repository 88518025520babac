"""From exceptions to problems: one table, one way of answering.

Anything that is not in the table is a fault of ours: the client gets the incident's id, the log gets the rest.
"""

import http
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import procrastinate.exceptions
import psycopg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import refusals
from service.api.faults import faults_of, problem_fault
from service.api.schemas.problem import Fault, Problem
from service.datasets.files import DatasetDamaged, StoreUnavailable
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.errors import InvalidProblem

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "https://plumbline.invalid/problems/"
RETRY_AFTER_SECONDS = "2"
LONGEST_PATH = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """How one kind of exception is answered."""

    status: int
    code: str
    title: str


UNREADABLE_REQUEST = Answer(400, "unreadable-request", "The request cannot be read")
INTERNAL = Answer(500, "internal", "Something went wrong here")
DATABASE_AWAY = Answer(503, "database-unavailable", "The database is not available")
DATABASE_READ_ONLY = Answer(503, "database-read-only", "The database can only be read")
STORE_AWAY = Answer(503, "store-unavailable", "The store of datasets is not available")
STORAGE_FULL = Answer(503, "storage-full", "There is no room left to store anything")

#: Looked up along the exception's bases, nearest first.
TABLE: dict[type[Exception], Answer] = {
    InvalidProblem: Answer(422, "invalid-problem", "This cannot be fitted as asked"),
    RequestValidationError: Answer(422, "invalid-request", "The request is not valid"),
    refusals.InvalidRequest: Answer(422, "invalid-request", "The request is not valid"),
    refusals.KeyReused: Answer(422, "idempotency-key-reused", "The Idempotency-Key belongs to another request"),
    refusals.UnreadableBody: Answer(400, "unreadable-body", "The body cannot be read"),
    refusals.BodyTooLarge: Answer(413, "body-too-large", "The body is too large"),
    refusals.UnsupportedMediaType: Answer(415, "unsupported-media-type", "The body is of an unsupported type"),
    refusals.NotAcceptable: Answer(406, "not-acceptable", "None of the media types on offer is acceptable"),
    refusals.NotFound: Answer(404, "not-found", "There is no such thing"),
    refusals.NotFinished: Answer(409, "not-finished", "The fit is not finished"),
    refusals.AlreadyFinished: Answer(409, "already-finished", "The fit is finished already"),
    refusals.NotFailed: Answer(409, "not-failed", "The fit has not failed"),
    refusals.StillRunning: Answer(409, "still-running", "The fit is running"),
    TooLong: Answer(503, "simulation-unavailable", "The steps of this forecast cannot be simulated now"),
    refusals.NotReady: Answer(503, "not-ready", "The service is not ready"),
    ClientDisconnect: Answer(400, "client-gone", "The client went away"),
    psycopg.OperationalError: DATABASE_AWAY,
    psycopg.InterfaceError: DATABASE_AWAY,
    psycopg.errors.ReadOnlySqlTransaction: DATABASE_READ_ONLY,
    psycopg.errors.DiskFull: STORAGE_FULL,
    procrastinate.exceptions.ConnectorException: DATABASE_AWAY,
    StoreUnavailable: STORE_AWAY,
    DatasetDamaged: Answer(500, "dataset-damaged", "The data are not what was stored"),
}

#: What is nobody's mistake and passes, and what a client is told about it.
_ASK_AGAIN = {
    DATABASE_AWAY: "Try again in a moment.",
    STORE_AWAY: "Nothing of this request was kept. Try again in a moment.",
    DATABASE_READ_ONLY: "What is stored can be read; nothing is taken until the operator lets it be written to.",
    STORAGE_FULL: "Nothing of this request was kept. Try again once the operator has made room.",
}

#: What the framework says with a bare status.
_BY_STATUS = {
    404: Answer(404, "not-found", "There is no such thing"),
    405: Answer(405, "method-not-allowed", "The method is not allowed here"),
}


def answer_to(error: Exception) -> Answer:
    """The table's row for an exception; `INTERNAL` where it has none."""
    if isinstance(error, HTTPException):
        return _BY_STATUS.get(error.status_code) or _plain(error.status_code)
    if isinstance(error, procrastinate.exceptions.ConnectorException) and isinstance(error.__cause__, psycopg.Error):
        error = error.__cause__  # which the queue's words hide
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), INTERNAL)


def _plain(status: int) -> Answer:
    phrase = http.HTTPStatus(status).phrase
    return Answer(status, phrase.lower().replace(" ", "-"), phrase)


def problem_response(
    answer: Answer,
    path: str,
    detail: str,
    faults: Sequence[Fault] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """The problem as an HTTP response."""
    problem = Problem(
        type=TYPE_BASE + answer.code,
        title=answer.title,
        status=answer.status,
        detail=detail,
        instance=path,
        code=answer.code,
        errors=list(faults),
    )
    return Response(problem.model_dump_json(), answer.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every exception of the table, and every one outside of it, with a problem."""
    for kind in (*TABLE, HTTPException):
        app.add_exception_handler(kind, _respond)
    app.add_middleware(Incidents)


def path_of(scope: Scope) -> str:
    """The path as it was sent, which a URI can hold; not all of it where it is very long."""
    path: bytes = scope["raw_path"]
    return path[:LONGEST_PATH].decode("ascii")


async def _respond(request: Request, error: Exception) -> Response:
    path = path_of(request.scope)
    if _is_about_path(error):
        return problem_response(_BY_STATUS[404], path, "There is nothing of that id.")
    answer = answer_to(error)
    if answer in _ASK_AGAIN:
        logger.warning("%s %s: %s", request.method, path, error)
    detail, faults, headers = _particulars(request, error, answer)
    return problem_response(answer, path, detail, faults, headers | _due_headers(request, answer.status))


def _due_headers(request: Request, status: int) -> dict[str, str]:
    """What HTTP asks of an answer with this status."""
    headers = {}
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(allowed_methods(request))
    if "expect" in request.headers:
        # Told no instead of to continue, a client may still send its body, or not: what follows cannot be understood.
        headers["Connection"] = "close"
    return headers


def _particulars(request: Request, error: Exception, answer: Answer) -> tuple[str, Sequence[Fault], dict[str, str]]:
    match error:
        case refusals.Refusal():
            return error.detail, error.faults, dict(error.headers)
        case InvalidProblem():
            return error.message, [problem_fault(error)], {}
        case DatasetDamaged():
            return f"{error} Submit the data again.", (), {}
        case RequestValidationError():
            faults = faults_of(error.errors(), error.body, _body_type(request))
            return _summary(faults, len(error.errors())), faults, {}
        case HTTPException(status_code=404):
            return "There is nothing at this path.", (), {}
        case HTTPException(status_code=405):
            return f"{request.method} is not among the methods of this path.", (), {}
    return _ASK_AGAIN.get(answer, "Try again in a moment."), (), {}


def _summary(faults: Sequence[Fault], count: int) -> str:
    first = faults[0]
    where = first.pointer if first.pointer is not None else first.parameter
    more = f" ({count} faults in all)" if count > 1 else ""
    return f"{where or 'The body'}: {first.message} Allowed: {first.allowed}.{more}"


def _is_about_path(error: Exception) -> bool:
    return isinstance(error, RequestValidationError) and error.errors()[0]["loc"][0] == "path"


def _body_type(request: Request) -> Any:
    field = getattr(request.scope.get("route"), "body_field", None)
    return None if field is None else field.field_info.annotation


def allowed_methods(request: Request) -> list[str]:
    """Every method some route at this path has: the framework names only those of the first."""
    methods: set[str] = set()
    for route in request.app.routes:
        matched, _ = route.matches(dict(request.scope))
        if matched is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


class Incidents:
    """The outermost wrapper: an exception nobody expected becomes a 500 with an id that is in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            incident = uuid.uuid4()
            logger.exception("incident %s: %s %s", incident, scope["method"], path_of(scope))
            detail = f"The incident is in the log as {incident}."
            await problem_response(INTERNAL, path_of(scope), detail)(scope, receive, send)
