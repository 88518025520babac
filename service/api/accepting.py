"""A checked fit is taken on: solved at once or queued, and answered now or when it is finished."""

import asyncio
from contextlib import suppress
from typing import Annotated, Any

import psycopg
from fastapi import Header, Request, Response

from service.api.answers import RETRY_AFTER, fit_in_full, fit_path, is_finished, json_response
from service.api.backing import Backing
from service.api.mapping import Submission
from service.api.preferences import preference
from service.api.routes.documented import headers
from service.api.schemas.fit import Fit
from service.api.waiting import hold
from service.fitting.solver import Exact
from service.jobs.fits import FitStore
from service.jobs.inline import is_small, solve_at_once
from service.jobs.messages import Solved
from service.jobs.records import FitRecord

Prefer = Annotated[list[str] | None, Header(description="wait=<seconds> to hold the answer, or respond-async.")]

#: The part of a route's `responses` that declares the two ways of taking a fit on.
ACCEPTED: dict[int | str, dict[str, Any]] = {
    201: headers("Location", "Preference-Applied"),
    202: {"model": Fit, "description": "The fit is on its way."}
    | headers("Location", "Preference-Applied", "Retry-After"),
}


async def accept(submission: Submission, request: Request, services: Backing, prefer: list[str] | None) -> Response:
    """Store the fit and answer with it: 201 if it is finished by then, else 202.

    Parameters
    ----------
    prefer
        The request's `Prefer` headers.
    """
    wanted = preference(prefer or (), services.settings.max_wait_seconds)
    solved = None if wanted.applied == "respond-async" else await _solved(submission, request.app.state.descending)
    record = await _stored(submission, services.fits, solved)
    if wanted.seconds > 0 and not is_finished(record):
        # The fit is accepted: that is what the client must hear, even if the database is gone by now.
        with suppress(psycopg.OperationalError):
            record = await hold(request, record.id, wanted.seconds) or record
    sent = {"Location": fit_path(record.id)}
    if wanted.applied is not None:
        sent["Preference-Applied"] = wanted.applied
    status = 201 if is_finished(record) else 202
    return await fit_response(record, services, status, sent)


async def fit_response(record: FitRecord, services: Backing, status: int, sent: dict[str, str]) -> Response:
    """The fit as it is now."""
    if not is_finished(record):
        sent |= RETRY_AFTER
    return json_response(await fit_in_full(record, services.fits), status, sent)


async def _solved(submission: Submission, descending: asyncio.Semaphore) -> Solved | None:
    """The answer to a small fit; None for those that are the workers'.

    An exact one is over before a thread would have begun. Of descents, one at a time is solved beside the requests.
    """
    dataset, task, ended = submission.problem.dataset, submission.task, submission.ended
    if isinstance(task.solver, Exact):
        return solve_at_once(task, dataset, ended)
    if descending.locked() or not is_small(task, dataset):
        return None
    async with descending:
        return await asyncio.to_thread(solve_at_once, task, dataset, ended)


async def _stored(submission: Submission, fits: FitStore, solved: Solved | None) -> FitRecord:
    """The fit as it is stored: finished, where it is solved already, else queued."""
    dataset, task, ended = submission.problem.dataset, submission.task, submission.ended
    request, labels, parent = submission.request, submission.labels, submission.parent
    start_state = None if ended is None else ended.to_bytes()
    if solved is None:
        return await fits.submit(dataset, task, request, labels, start_state, parent)
    return await fits.store(dataset, task, request, labels, solved, start_state, parent)
