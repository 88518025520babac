"""A checked fit is taken on: solved at once or queued, and answered now or when it is finished."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from fastapi import Request, Response

from service.api.answers import RETRY_AFTER, fit_in_full, fit_path, is_finished, json_response
from service.api.backing import Backing
from service.api.idempotency import KEY_PARAMETER, REPLAYED, answered_before, key_of
from service.api.mapping import Submission
from service.api.preferences import CACHE_PARAMETER, PREFER_PARAMETER, preference, wants_fresh
from service.api.routes.documented import headers
from service.api.schemas.fit import Fit
from service.api.schemas.request import FitRequest
from service.api.waiting import hold
from service.fitting.solver import Exact
from service.jobs.asked import Key
from service.jobs.fits import FitStore
from service.jobs.inline import is_small, solve_at_once
from service.jobs.messages import Solved
from service.jobs.records import FitRecord
from service.jobs.submitting import KeyTaken

#: The headers that `accept` reads, as a route's `openapi_extra` declares them. The framework would take a tenth of the
#: time of a small fit to hand them over.
PARAMETERS: list[dict[str, Any]] = [PREFER_PARAMETER, CACHE_PARAMETER, KEY_PARAMETER]

#: Makes a checked fit of a request.
Check = Callable[[], Awaitable[Submission]]


#: The part of a route's `responses` that declares the two ways of taking a fit on.
ACCEPTED: dict[int | str, dict[str, Any]] = {
    201: headers("Location", "Preference-Applied", "Idempotent-Replayed"),
    202: {"model": Fit, "description": "The fit is on its way."}
    | headers("Location", "Preference-Applied", "Retry-After", "Idempotent-Replayed"),
}


async def accept(request: Request, services: Backing, bodies: Sequence[FitRequest], check: Check) -> Response:
    """Take a fit on and answer with it: 201 if it is finished by then, else 202.

    Parameters
    ----------
    bodies
        What is asked for beside the path: a key belongs to both.
    check
        Not called where the request has been answered before.
    """
    sent = request.headers
    wanted = preference(sent.getlist("prefer"), services.settings.max_wait_seconds)
    key = await key_of(sent.get("idempotency-key"), request.scope["path"], bodies)
    turn = None if wanted.is_async else request.app.state.descending
    intake = _Intake(services.fits, key, wants_fresh(sent.getlist("cache-control")), turn)
    record, said = await intake.take(check)
    if wanted.seconds > 0 and not is_finished(record):
        # The fit is accepted: that is what the client must hear, even if the database is gone by now.
        with suppress(psycopg.OperationalError):
            record = await hold(request, record.id, wanted.seconds) or record
    said |= {"Location": fit_path(record.id)} | wanted.headers
    return await fit_response(record, services, 201 if is_finished(record) else 202, said)


async def fit_response(record: FitRecord, services: Backing, status: int, sent: dict[str, str]) -> Response:
    """The fit as it is now."""
    if not is_finished(record):
        sent |= RETRY_AFTER
    return json_response(await fit_in_full(record, services.fits), status, sent)


@dataclass(frozen=True)
class _Intake:
    """Takes on the fit of one request.

    Attributes
    ----------
    turn
        Held while a descent is solved beside the requests: one at a time. None to solve nothing at once.
    """

    fits: FitStore
    key: Key | None
    fresh: bool
    turn: asyncio.Semaphore | None

    async def take(self, check: Check) -> tuple[FitRecord, dict[str, str]]:
        """The fit, with the headers that say whether it is one of an earlier request."""
        while True:
            for named in await answered_before(self.key, self.fits):
                if (record := await self.fits.get(named.id)) is not None:
                    return record, dict(REPLAYED)
            # The same request may have come twice at once, and the other one was stored first.
            with suppress(KeyTaken):
                return await self._stored(await check()), {}

    async def _stored(self, submission: Submission) -> FitRecord:
        """The fit as it is stored: finished, where it is solved at once or was finished before, else queued."""
        solved = None if self.turn is None else await self._solved(submission, self.turn)
        if solved is None:
            return await self.fits.submit(submission.asked, self.key, fresh=self.fresh)
        return await self.fits.store(submission.asked, solved, self.key, fresh=self.fresh)

    async def _solved(self, submission: Submission, turn: asyncio.Semaphore) -> Solved | None:
        """The answer to a small fit; None for those that are the workers', or have been solved before.

        An exact one is over before a thread would have begun, and before the database had said whether it is there.
        """
        asked, ended = submission.asked, submission.ended
        if isinstance(asked.task.solver, Exact):
            return solve_at_once(asked.task, asked.dataset, ended)
        if turn.locked() or not is_small(asked.task, asked.dataset):
            return None
        async with turn:
            if not self.fresh and await self.fits.has_identical(asked):
                return None
            return await asyncio.to_thread(solve_at_once, asked.task, asked.dataset, ended)
