"""The built-in cases."""

import asyncio

from fastapi import Response

from service.api.reading import contract_router
from service.api.refusals import NotFound
from service.api.routes.documented import problems
from service.api.schemas import case as answered
from service.datasets.cases import Case, case, case_names

router = contract_router("cases")


@router.get("/v1/cases", response_model=answered.CaseList, response_description="All cases.", responses=problems())
async def list_cases() -> Response:
    """List the cases: questions, requests that answer them, and the numbers to expect."""
    return await asyncio.to_thread(_all_cases)


@router.get("/v1/cases/{name}", response_model=answered.Case, response_description="The case.", responses=problems(404))
async def get_case(name: str) -> Response:
    """Return one case."""
    found = await asyncio.to_thread(case, name)
    if found is None:
        raise NotFound(f"There is no such case; there are {', '.join(case_names())}.")
    return _response(_answer(found))


def _all_cases() -> Response:
    found = [case(name) for name in case_names()]
    return _response(answered.CaseList(cases=[_answer(item) for item in found if item is not None]))


def _answer(found: Case) -> answered.Case:
    return answered.Case.model_validate(found)


def _response(answer: answered.Case | answered.CaseList) -> Response:
    # Everything of an answer is set but what a request leaves out: it is shown as it would be written.
    return Response(answer.model_dump_json(exclude_unset=True), media_type="application/json")
