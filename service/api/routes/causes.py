"""What causes there are, and what their numbers mean."""

from functools import cache

from fastapi import Response

from service.api.reading import contract_router
from service.api.routes.constant import CONSTANT, Constant, IfNoneMatch
from service.api.routes.documented import problems
from service.api.schemas.causes import CauseCatalogue, CauseDescription, CauseNumber
from service.fitting.diagnosis.registry import CAUSES, Kind

router = contract_router("causes")


@router.get(
    "/v1/causes",
    response_model=CauseCatalogue,
    response_description="All of them.",
    responses=problems() | CONSTANT,
)
async def list_causes(if_none_match: IfNoneMatch = None) -> Response:
    """List the causes that fits and forecasts name: what each says, how its share is computed, what its numbers are."""
    return _answer().response(if_none_match)


@cache
def _answer() -> Constant:
    return Constant.of(CauseCatalogue(causes=[_description(code, kind) for code, kind in CAUSES.items()]))


def _description(code: str, kind: Kind) -> CauseDescription:
    numbers = [CauseNumber(name=name, description=text) for name, text in kind.numbers.items()]
    return CauseDescription(
        code=code, meaning=kind.meaning, share=kind.share, numbers=numbers, each_term=kind.each_term
    )
