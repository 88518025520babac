"""The events of a fit, over the real application: what is sent, in which order, and what ends a stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from service.api.event_stream import EventStreams
from service.bootstrap import Services
from service.jobs.messages import Glimpse
from service.jobs.records import FitProgress
from service.watching.events import Event, EventReader
from tests.api.conftest import Run, begin
from tests.api.contract import document
from tests.fitting.trajectories import trajectory

LONG = {"data": {"x": [1, 2, 3], "y": [1, 2, 4]}, "solver": {"optimizer": {"kind": "adam"}, "epochs": 40}}
MANY = {"x": [[1, 2], [2, 1], [3, 5]], "y": [[row * k + row for k in range(9)] for row in range(3)]}
STEPS = 40
PATIENCE = 20.0

_SHAPES = {"status": "StatusEvent", "progress": "Progress", "points": "PointsEvent"}

Message = dict[str, Any]
Post = Callable[..., str]


@pytest.fixture
def post(api: httpx.Client) -> Post:
    """Has a fit queued and returns its id."""

    def posted(body: dict[str, Any] = LONG) -> str:
        return str(api.post("/v1/fits", json=body, headers={"prefer": "respond-async"}).json()["id"])

    return posted


def _events(text: bytes) -> list[Event]:
    return list(EventReader().read(text.splitlines(keepends=True)))


def _steps(events: list[Event]) -> list[int]:
    return [step for event in events if event.name == "points" for step in event.data["columns"]["step"]]


def _watch(api: httpx.Client, fit_id: str, **headers: str) -> httpx.Response:
    return api.get(
        f"/v1/fits/{fit_id}/events", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def test_a_finished_fit_tells_all_at_once(api: httpx.Client, post: Post, finish: Callable[..., None]) -> None:
    fit_id = post()
    finish(fit_id, STEPS)
    answer = _watch(api, fit_id)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    assert answer.content.startswith(b"retry: ")
    events = _events(answer.content)
    assert [event.name for event in events] == ["points", "progress", "status"]
    for event in events:
        _validator(_SHAPES[event.name]).validate(event.data)
        assert event.id == str(STEPS)
    stored = api.get(f"/v1/fits/{fit_id}/trajectory").json()["columns"]
    assert events[0].data["columns"] == stored
    fit = api.get(f"/v1/fits/{fit_id}").json()
    assert events[1].data == fit["progress"]
    said = events[2].data
    assert (said["status"], said["outcome"], said["links"]) == ("succeeded", "step_limit", fit["links"])
    assert fit["links"]["events"] == f"/v1/fits/{fit_id}/events"


@pytest.mark.parametrize("after", [0, 17, STEPS, 10**17])
def test_points_go_on_after_the_last_event(
    api: httpx.Client, post: Post, finish: Callable[..., None], after: int
) -> None:
    fit_id = post()
    finish(fit_id, STEPS)
    events = _events(_watch(api, fit_id, last_event_id=str(after)).content)
    assert _steps(events) == list(range(after + 1, STEPS + 1))
    assert events[-1].data["status"] == "succeeded"
    assert events[-1].id == str(max(after, STEPS))


def test_other_ends(api: httpx.Client, post: Post, finish: Callable[..., None], fail: Callable[[str], None]) -> None:
    exact, failed, cancelled = post(), post(), post()
    finish(exact)
    fail(failed)
    api.post(f"/v1/fits/{cancelled}/cancel")
    told = {fit_id: _events(_watch(api, fit_id).content) for fit_id in (exact, failed, cancelled)}
    assert {fit_id: events[-1].data["status"] for fit_id, events in told.items()} == {
        exact: "succeeded",
        failed: "failed",
        cancelled: "cancelled",
    }
    assert all(_steps(events) == [] and events[-1].id == "" for events in told.values())
    assert told[failed][-1].data["error"]["code"] == "crashed"


def test_what_is_refused(api: httpx.Client, post: Post) -> None:
    fit_id = post()
    assert _watch(api, str(uuid4())).status_code == 404
    assert _watch(api, "7").status_code == 404
    assert _watch(api, fit_id, accept="application/json").status_code == 406
    assert api.post(f"/v1/fits/{fit_id}/events").status_code == 405
    for wrong in ("x", "-1", "1.5", "9" * 19, "9" * 40):
        answer = _watch(api, fit_id, last_event_id=wrong)
        assert answer.status_code == 422
        assert [fault["parameter"] for fault in answer.json()["errors"]] == ["Last-Event-ID"]


def test_head_is_answered_at_once(api: httpx.Client, post: Post, services: Services) -> None:
    answer = api.head(f"/v1/fits/{post()}/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == b""
    assert vars(services.feed)["_views"] == {}


class _Stream:
    """A request to the application whose answer is taken as it comes; nothing is taken while `is_open` is not set."""

    def __init__(self) -> None:
        self.text = b""
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.is_gone = asyncio.Event()
        self.came = asyncio.Event()

    async def receive(self) -> Message:
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.is_open.wait()
        self.text += message.get("body", b"")
        self.came.set()

    async def until(self, is_it: Callable[[list[Event]], bool]) -> list[Event]:
        """All events so far, once it is so."""
        async with asyncio.timeout(PATIENCE):
            while not is_it(_events(self.text)):
                self.came.clear()
                await self.came.wait()
        return _events(self.text)


@asynccontextmanager
async def _watching(app: Any, fit_id: str) -> AsyncIterator[tuple[_Stream, "asyncio.Task[None]"]]:
    stream = _Stream()
    scope = {"type": "http", "method": "GET", "path": f"/v1/fits/{fit_id}/events", "query_string": b"", "headers": []}
    scope |= {"raw_path": scope["path"].encode(), "http_version": "1.1", "scheme": "http", "server": ("test", 80)}  # type: ignore[attr-defined]
    serving = asyncio.create_task(app(scope, stream.receive, stream.send))
    yield stream, serving
    stream.is_open.set()
    stream.is_gone.set()
    await serving


def _glimpses(steps: int, size: int) -> list[Glimpse]:
    whole = trajectory(steps)
    account = whole.account.to_bytes()
    ends = [*range(0, steps + 1, size), steps + 1]
    return [
        Glimpse(k, None if k else account, last - first, first, last - 1, whole.records[first:last].view(np.uint8))
        for k, (first, last) in enumerate(pairwise(ends))
        if last > first
    ]


def test_one_that_does_not_read_keeps_nobody_waiting_and_little_for_itself(
    app: Any, services: Services, run: Run[Any], post: Post
) -> None:
    async def watched() -> None:
        attempts, attempt = await begin(services, UUID(fit_id))
        async with _watching(app, fit_id) as (slow, _), _watching(app, fit_id) as (quick, _):
            await asyncio.gather(*(one.until(lambda events: len(events) == 1) for one in (slow, quick)))
            slow.is_open.clear()
            for k, glimpse in enumerate(_glimpses(1000, 25)):
                assert await attempts.glimpse(attempt, glimpse)
                assert await attempts.progress(attempt, FitProgress(k, 1000, k, 0.5))
                await quick.until(lambda events, last=glimpse.last_step: events[-1].id == str(last))  # type: ignore[misc]
            [view] = vars(services.feed)["_views"].values()
            assert sum(points.rows.recorded for points in vars(view)["_points"]) == 1001
            slow.is_open.set()
            events = await slow.until(lambda events: events[-1].id == "1000")
        assert _steps(events) == _steps(_events(quick.text)) == list(range(1001))
        # Two: that which was in its hands, and the newest.
        assert [event.name for event in events].count("progress") <= 2
        assert len({event.id for event in events if event.name == "points"}) == 41

    fit_id = post()
    run(watched())
    assert vars(services.feed)["_views"] == {}


def test_a_quiet_stream_shows_that_it_lives_and_ends_with_the_service(
    app: Any, run: Run[Any], post: Post, services: Services
) -> None:
    async def watched() -> None:
        closing = asyncio.Event()
        app.state.streams = EventStreams(closing, heartbeat_seconds=0.05)
        async with _watching(app, fit_id) as (stream, serving):
            async with asyncio.timeout(PATIENCE):
                while stream.text.count(b"\n:\n\n") < 3:
                    stream.came.clear()
                    await stream.came.wait()
            assert [event.name for event in _events(stream.text)] == ["status"]
            closing.set()
            async with asyncio.timeout(PATIENCE):
                await serving

    fit_id, usual = post(), app.state.streams
    try:
        run(watched())
    finally:
        app.state.streams = usual
    assert vars(services.feed)["_views"] == {}


def test_coefficients_are_left_out_where_they_are_many(api: httpx.Client) -> None:
    fit = api.post("/v1/fits", json={"data": MANY, "solver": {"epochs": 5}}).json()
    assert fit["status"] == "succeeded"
    [columns] = [event.data["columns"] for event in _events(_watch(api, fit["id"]).content) if event.name == "points"]
    stored = api.get(f"/v1/fits/{fit['id']}/trajectory").json()["columns"]
    assert len(stored["coefficients"]) == 9
    assert columns == stored | {"coefficients": None}


def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document()["components"]})


def test_events_are_json_on_one_line(api: httpx.Client, post: Post, finish: Callable[..., None]) -> None:
    fit_id = post()
    finish(fit_id, 2)
    lines = _watch(api, fit_id).content.split(b"\n")
    assert all(json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: "))
