"""What solvers there are, and what they can be asked for."""

from functools import cache
from hashlib import sha256
from typing import Annotated

from fastapi import Header, Response

from service.api.catalogue import catalogue
from service.api.conditional import is_known
from service.api.reading import contract_router
from service.api.routes.documented import headers, problems
from service.api.schemas.catalogue import SolverCatalogue

router = contract_router("solvers")


@router.get(
    "/v1/solvers",
    response_model=SolverCatalogue,
    response_description="All of them.",
    responses=problems()
    | {
        200: headers("ETag", "Cache-Control"),
        304: {"description": "It has not changed."} | headers("ETag", "Cache-Control"),
    },
)
async def list_solvers(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """List the solvers and all they are made of, from optimizers to stop rules, with options, defaults and bounds."""
    body, tag = _answer()
    sent = {"ETag": tag, "Cache-Control": "no-cache"}
    if is_known(if_none_match, tag):
        return Response(status_code=304, headers=sent)
    return Response(body, 200, sent, "application/json")


@cache
def _answer() -> tuple[str, str]:
    """The answer, which is always the same, and its tag."""
    body = catalogue().model_dump_json()
    return body, f'"{sha256(body.encode()).hexdigest()[:16]}"'
