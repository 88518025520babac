"""The queue: how it is doing, and what it has given up."""

from typing import Annotated, Any

from fastapi import Depends, Query, Response
from pydantic import BaseModel, Field

from service.api.answers import fit_path, json_response
from service.api.backing import Backing, backing_of
from service.api.page_tokens import position_of, token_at
from service.api.reading import contract_router
from service.api.routes.documented import problems
from service.api.schemas.queue import DeadLetterPage, Queue
from service.jobs.queue_report import DeadLetter

router = contract_router("queue")

Services = Annotated[Backing, Depends(backing_of)]


class DeadLetterQuery(BaseModel):
    """Which page of failed fits to list."""

    page_size: Annotated[int, Field(ge=1, le=200)] = 50
    page_token: Annotated[str | None, Field(description="The next_page_token of the page before.")] = None


@router.get("/v1/queue", response_model=Queue, response_description="The queue.", responses=problems(503))
async def get_queue(services: Services) -> Response:
    """Return how long the queue is, how fast it moves, and who works at it. It is cheap enough to be polled."""
    return json_response(vars(await services.reporter.report()))


@router.get(
    "/v1/queue/dead",
    response_model=DeadLetterPage,
    response_description="A page of failed fits.",
    responses=problems(503),
)
async def list_dead_letters(query: Annotated[DeadLetterQuery, Query()], services: Services) -> Response:
    """List fits that have failed, the latest failure first, with the reason. A retry takes a fit off this list."""
    before = None if query.page_token is None else position_of(query.page_token)
    letters = await services.reporter.dead_letters(query.page_size + 1, before)
    shown = letters[: query.page_size]
    token = token_at(shown[-1].failed_at, shown[-1].id) if len(letters) > len(shown) else None
    return json_response({"dead": [_dead_letter(letter) for letter in shown], "next_page_token": token})


def _dead_letter(letter: DeadLetter) -> dict[str, Any]:
    path = fit_path(letter.id)
    return {
        "id": letter.id,
        "labels": letter.labels,
        "attempts": letter.attempt,
        "failed_at": letter.failed_at,
        "error": letter.error,
        "links": {"fit": path, "retry": f"{path}/retry"},
    }
