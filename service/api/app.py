"""The application: routes, errors and document put together. It does nothing until it is asked."""

import asyncio

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import errors
from service.api.backing import Backing
from service.api.document import describe
from service.api.event_stream import EventStreams
from service.api.routes import (
    batches,
    cases,
    causes,
    events,
    fits,
    forecasts,
    health,
    keeping,
    observations,
    pages,
    predictions,
    queue,
    remedies,
    scripts,
    solvers,
    trajectories,
)

_ROOMS = (
    *(fits, batches, keeping, events, trajectories, observations, predictions, scripts, remedies),
    *(queue, forecasts, causes, solvers, cases, health, pages),
)

TITLE = "Plumbline"
DESCRIPTION = """Linear models fitted over HTTP by gradient descent, each answer beside the exact one.

Every error is an `application/problem+json`. Numbers that are not finite are null."""


def create_app(backing: Backing | None, closing: asyncio.Event | None = None) -> FastAPI:
    """The application.

    Parameters
    ----------
    backing
        None is enough to describe the application, not to serve it.
    closing
        Once it is set, answers that are held back are given as they are.
    """
    # The routes are handed in flat: of an included router, the framework hides which methods a path has.
    app = FastAPI(
        title=TITLE,
        version="1",
        description=DESCRIPTION,
        routes=[
            *(route for room in _ROOMS for route in room.router.routes),
            pages.assets(),
        ],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.backing = backing
    app.state.closing = closing or asyncio.Event()
    app.state.streams = EventStreams(app.state.closing)
    app.state.recomputing = asyncio.Semaphore(1)
    app.state.forecasting = asyncio.Semaphore(1)
    app.state.descending = asyncio.Semaphore(1)
    app.add_middleware(HeadAsGet)
    errors.install(app)
    describe(app)
    return app


class HeadAsGet:
    """HEAD is answered as GET is, without the body: as soon as that begins, however long it would be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answered = False

        async def bodiless(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.body":
                message = {**message, "body": b"", "more_body": False}
            if not is_answered:
                # From then on the server tells whoever asks that the client is gone.
                is_answered = message["type"] == "http.response.body"
                await send(message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, bodiless)
        else:
            await self._app(scope, receive, send)
