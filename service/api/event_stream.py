"""What a feed gives a watcher, as Server-Sent Events (HTML Living Standard, section 9.2)."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.answers import links_of
from service.api.refusals import NotFound
from service.api.tables import json_columns
from service.api.trajectory_columns import FIELDS, select
from service.jobs.feed import Feed, News, Points, StateNews, Watcher
from service.jobs.records import FitProgress
from service.jobs.shown import MOST_COEFFICIENTS

MEDIA_TYPE = "text/event-stream"

#: Within this time something is sent, so that nobody on the way takes the connection for dead.
_HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b":\n\n"
#: How long a client that lost its connection is to wait before it comes again.
_RETRY = b"retry: 1000\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_WITHOUT_COEFFICIENTS = tuple(name for name in FIELDS if name != "coefficients")


class EventStreams:
    """The streams of one application.

    Parameters
    ----------
    closing
        Set when the service stops: streams end, their clients come again and go on where they were.
    """

    def __init__(self, closing: asyncio.Event, heartbeat_seconds: float = _HEARTBEAT_SECONDS) -> None:
        self.closing = closing
        self.heartbeat_seconds = heartbeat_seconds
        self._written: WeakKeyDictionary[News, bytes] = WeakKeyDictionary()

    def event(self, news: News, place: int | None) -> bytes:
        """The event, written once for all who are given it, with a watcher's place as its id.

        Where it has no place, the id is empty, which clears the client's.
        """
        written = self._written.get(news)
        if written is None:
            written = self._written[news] = b"event: %b\ndata: %b\n" % _named(news)
        return b"%bid: %b\n\n" % (written, b"" if place is None else b"%d" % place)


class EventStream(Response):
    """The events of a fit as they come, until it is over, the client is gone, or the service stops.

    Parameters
    ----------
    after
        The step of the last point that the client has; None where it has none.
    """

    media_type = MEDIA_TYPE

    def __init__(self, streams: EventStreams, feed: Feed, fit_id: UUID, after: int | None) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)
        self._streams = streams
        self._feed = feed
        self._fit_id = fit_id
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Send them; nothing is left running, whichever way this ends.

        Raises, before anything is sent:

        NotFound
            There is no such fit.
        psycopg.OperationalError
            The database is away.
        """
        async with self._feed.watching(self._fit_id, self._after) as watcher:
            if watcher is None:
                raise NotFound(f"There is no fit {self._fit_id}.")
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            sending = asyncio.create_task(self._send(watcher, send))
            ends = [asyncio.create_task(_gone(receive)), asyncio.create_task(self._streams.closing.wait())]
            try:
                await asyncio.wait([sending, *ends], return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                for task in (sending, *ends):
                    task.cancel()
                await asyncio.gather(sending, *ends, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, watcher: Watcher, send: Send) -> None:
        # To a client that does not read, `send` does not return: when it does, the news are the newest again.
        clock, text, due = asyncio.get_running_loop().time, _RETRY, 0.0
        while True:
            watcher.changed.clear()
            is_over = watcher.is_over
            text += b"".join(self._streams.event(news, watcher.place) for news in watcher.news())
            if not text and clock() >= due:
                text = _HEARTBEAT
            if text:
                await send({"type": "http.response.body", "body": text, "more_body": True})
                text, due = b"", clock() + self._streams.heartbeat_seconds
            if is_over:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await watcher.changed.wait()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _named(news: News) -> tuple[bytes, bytes]:
    """An event's name and data."""
    match news:
        case StateNews():
            return b"status", _json(_status(news))
        case FitProgress():
            return b"progress", _json(news)
        case Points():
            return b"points", _json({"columns": _columns(news)})


def _status(news: StateNews) -> dict[str, Any]:
    """As `StatusEvent` declares it."""
    state = news.state
    if state is None:
        said = {"status": "deleted", "attempt": None, "outcome": None, "error": None}
        return said | {"restarted": False, "links": links_of(news.fit_id, None)}
    return {
        "status": state.status,
        "attempt": state.start.attempt,
        "restarted": news.restarted,
        "outcome": state.outcome,
        "error": state.error,
        "links": links_of(news.fit_id, state.status, state.parent),
    }


def _columns(points: Points) -> dict[str, Any]:
    rows = points.rows
    few = len(rows.terms) * len(rows.targets) <= MOST_COEFFICIENTS
    return json_columns(select(rows, FIELDS if few else _WITHOUT_COEFFICIENTS), FIELDS)


def _json(said: Any) -> bytes:
    return to_json(said, inf_nan_mode="null")
