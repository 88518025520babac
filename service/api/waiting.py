"""Holding an answer back until a fit is finished, the client is gone, or the service stops."""

import asyncio
from uuid import UUID

from fastapi import Request

from service.api.backing import backing_of
from service.jobs.records import FitRecord


async def hold(request: Request, fit_id: UUID, seconds: float) -> FitRecord | None:
    """The fit once it is finished, or as it is when there is no more reason to wait; None where there is none.

    Nothing is left running, whichever way this ends.
    """
    backing = await backing_of(request)
    if seconds <= 0:
        return await backing.fits.get(fit_id)
    waiting = asyncio.create_task(backing.notices.wait(fit_id, seconds))
    others = [asyncio.create_task(_gone(request)), asyncio.create_task(_closing(request))]
    try:
        await asyncio.wait({waiting, *others}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else await backing.fits.get(fit_id)
    finally:
        for task in (waiting, *others):
            task.cancel()
        await asyncio.gather(waiting, *others, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _closing(request: Request) -> None:
    closing: asyncio.Event = request.app.state.closing
    await closing.wait()
