"""Real processes: a worker whose fit takes seconds, and 200 who watch it through two APIs on one database."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from service.watching.events import Event, EventReader

pytestmark = [pytest.mark.anyio, pytest.mark.long]

LONG: dict[str, Any] = {
    "data": {"columns": {"x": [1, 2, 3, 4, 5.5], "y": [1, 2, 4, 3, 7]}},
    "solver": {"optimizer": {"kind": "adam", "learning_rate": 1e-5}, "epochs": 10**12},
}
WATCHERS = 200
_SOME = 5
PATIENCE = 120.0


@contextmanager
def _api(environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "service.asgi", "--listen-fd", str(listener.fileno())]
        process = subprocess.Popen(command, env=environment, pass_fds=(listener.fileno(),))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with process:
        try:
            assert httpx.get(address + "/health/live", timeout=PATIENCE).status_code == 200
            yield address, process.pid
        finally:
            process.terminate()


@contextmanager
def _worker(environment: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "service.worker"], env=environment) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def apis(database_url: str, tmp_path: Path) -> Iterator[list[tuple[str, int]]]:
    """Two APIs and a worker on one database: the APIs' addresses and process ids."""
    environment = os.environ | {"PLUMBLINE_DATABASE_URL": database_url, "PLUMBLINE_DATA_DIR": str(tmp_path)}
    with ExitStack() as stack:
        served = [stack.enter_context(_api(environment)) for _ in range(2)]
        stack.enter_context(_worker(environment))
        yield served


async def _watch(client: httpx.AsyncClient, url: str, seeing: asyncio.Semaphore) -> list[Event]:
    """The whole stream; `seeing` is told when there were some points."""
    lines, points = [], 0
    async with client.stream("GET", url) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            lines.append(line.encode() + b"\n")
            points += line == "event: points"
            if points == _SOME and line == "event: points":
                seeing.release()
    return list(EventReader().read(lines))


async def _watch_in_pieces(client: httpx.AsyncClient, url: str) -> list[Event]:
    """As a client does that loses its connection after every few lines."""
    events: list[Event] = []
    reader = EventReader()
    while not events or not events[-1].is_last:
        headers = {"Last-Event-ID": reader.last_id} if reader.last_id else {}
        async with client.stream("GET", url, headers=headers) as answer:
            lines = [line.encode() + b"\n" async for line in _first(answer.aiter_lines(), 60 + len(events) % 7)]
        events += reader.read(lines)
    return events


async def _first(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        count -= 1
        if count == 0:
            return


def _steps(events: list[Event]) -> list[int]:
    return [step for event in events if event.name == "points" for step in event.data["columns"]["step"]]


async def _does_not_read(address: str, path: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").partition(":")
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    stuck.connect((host, int(port)))
    stuck.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return stuck


async def test_all_see_the_same_and_nobody_waits_for_who_does_not_read(apis: list[tuple[str, int]]) -> None:
    # A kept connection may be closed by the server just when it is used again.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as client:
        fit = (await client.post(apis[0][0] + "/v1/fits", json=LONG, headers={"prefer": "wait=0"})).json()
        path = fit["links"]["events"]
        stuck = await _does_not_read(apis[0][0], path)
        before = [psutil.Process(pid).memory_info().rss for _, pid in apis]
        seeing = asyncio.Semaphore(0)
        watching = asyncio.gather(
            _watch_in_pieces(client, apis[0][0] + path),
            _watch_in_pieces(client, apis[1][0] + path),
            *(_watch(client, apis[k % 2][0] + path, seeing) for k in range(WATCHERS)),
        )
        for _ in range(WATCHERS):
            await seeing.acquire()
        assert (await client.post(apis[1][0] + fit["links"]["cancel"])).status_code == 202
        told = await watching
        after = [psutil.Process(pid).memory_info().rss for _, pid in apis]
        stored = (await client.get(apis[0][0] + fit["links"]["trajectory"])).json()
        stuck.close()
    for events in told:
        assert (events[-1].name, events[-1].data["status"]) == ("status", "cancelled")
        assert events[-1].data["outcome"] == "cancelled"
        steps = _steps(events)
        # It ends long before its steps are taken: it was to be seen all the same.
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (0, stored["total_steps"])
        assert 100 <= len(steps) <= 2500
        assert [event.data["steps_done"] for event in events if event.name == "progress"]
    # Every glimpse reached everybody, whole streams and cut ones alike; what is told at the end goes on from the last.
    ends = [[int(event.id) for event in events if event.name == "points"][-3] for events in told]
    glimpsed = [{step for step in _steps(events) if step <= min(ends)} for events in told]
    assert all(seen == glimpsed[0] for seen in glimpsed)
    assert len(glimpsed[0]) >= 80
    rates = [event.data["steps_per_second"] for event in told[2] if event.name == "progress"]
    assert any(rate is not None and rate > 1000 for rate in rates)
    assert max(now - then for then, now in zip(before, after, strict=True)) < 50 << 20
