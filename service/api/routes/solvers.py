"""What solvers there are, and what they can be asked for."""

from functools import cache

from fastapi import Response

from service.api.catalogue import catalogue
from service.api.reading import contract_router
from service.api.routes.constant import CONSTANT, Constant, IfNoneMatch
from service.api.routes.documented import problems
from service.api.schemas.catalogue import SolverCatalogue

router = contract_router("solvers")


@router.get(
    "/v1/solvers",
    response_model=SolverCatalogue,
    response_description="All of them.",
    responses=problems() | CONSTANT,
)
async def list_solvers(if_none_match: IfNoneMatch = None) -> Response:
    """List the solvers and all they are made of, from optimizers to stop rules, with options, defaults and bounds."""
    return _answer().response(if_none_match)


@cache
def _answer() -> Constant:
    return Constant.of(catalogue())
