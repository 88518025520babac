"""Whether the service lives, and whether it can work."""

import asyncio
from typing import Annotated

import psycopg
from fastapi import Depends

from service.api.backing import Backing, backing_of
from service.api.reading import contract_router
from service.api.refusals import NotReady
from service.api.routes.documented import problems
from service.api.schemas.health import Live, Ready

# Shorter than the patience of those who ask: they are to hear the reason.
_PATIENCE_SECONDS = 2.0

router = contract_router("health")


@router.get("/health/live", response_description="The process serves.", responses=problems())
async def live() -> Live:
    """Answer as soon as the process serves."""
    return Live(status="live")


@router.get("/health/ready", response_description="Fits are accepted, and a worker listens.", responses=problems(503))
async def ready(services: Annotated[Backing, Depends(backing_of)]) -> Ready:
    """Answer 200 once fits are accepted and a worker listens, else 503 with the reason."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            workers = await services.queue.listening_workers()
    except (TimeoutError, psycopg.OperationalError) as error:
        raise NotReady("The database is not available.") from error
    if workers == 0:
        raise NotReady("No worker is listening.")
    return Ready(status="ready", workers=workers)
