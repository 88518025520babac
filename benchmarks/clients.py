"""Clients that ask without a pause or at a given rate, each over a connection it keeps, and cost little themselves."""

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

#: Has a fit run, even if the same was run before.
FRESH = "Cache-Control: no-cache"

#: A whole HTTP request; called for each.
MakeRequest = Callable[[], bytes]
_Next = Callable[[], bytes | None]

_GOOD = tuple(f"HTTP/1.1 {status} ".encode() for status in (200, 201, 202))


@dataclass(frozen=True)
class Measured:
    """How long each request took, in seconds, and how many were answered a second."""

    times: Sequence[float]
    per_second: float

    @property
    def median(self) -> float:
        return statistics.median(self.times)


def measure(address: str, make: MakeRequest, connections: int, seconds: float) -> Measured:
    """Ask a server for so long, after a while that warms it.

    Raises
    ------
    RuntimeError
        It answered anything but 200, 201 or 202.
    """
    return uvloop.run(_measure(_server(address), make, connections, seconds))


def ask_all(address: str, requests: Iterator[bytes], connections: int) -> Measured:
    """Ask a server all of these, without a pause. Raises as `measure`."""
    return uvloop.run(_ask_for(_server(address), lambda: next(requests, None), connections, math.inf))


def ask_at_rate(address: str, make: MakeRequest, per_second: float, connections: int, seconds: float) -> Measured:
    """Ask a server for so long, so often, as far as it answers in time. Raises as `measure`."""
    return uvloop.run(_ask_for(_server(address), make, connections, seconds, 1.0 / per_second))


def _server(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)


def post(path: str, bodies: Iterator[bytes], *headers: str) -> MakeRequest:
    """Posts one body after the other, as JSON."""

    def request() -> bytes:
        body = next(bodies)
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body

    return request


def get(path: str) -> MakeRequest:
    """Gets the same, again and again."""
    return itertools.repeat(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).__next__


async def _measure(server: tuple[str, int], make: MakeRequest, connections: int, seconds: float) -> Measured:
    await _ask_for(server, make, connections, seconds / 4)
    return await _ask_for(server, make, connections, seconds)


async def _ask_for(
    server: tuple[str, int], make: _Next, connections: int, seconds: float, interval: float = 0.0
) -> Measured:
    began = time.perf_counter()
    turns = _Turns(make, began, began + seconds, interval)
    clients = [_Client(turns) for _ in range(connections)]
    for client in clients:
        await asyncio.get_running_loop().create_connection(lambda client=client: client, *server)  # type: ignore[misc]
    await asyncio.gather(*(client.ended for client in clients))
    times = [spent for client in clients for spent in client.times]
    return Measured(times, len(times) / (time.perf_counter() - began))


class _Turns:
    """What is asked next, and when: `interval` seconds after the one before, whoever asks."""

    def __init__(self, make: _Next, began: float, until: float, interval: float) -> None:
        self._make, self._until, self._interval = make, until, interval
        self._due = began

    def take(self) -> tuple[float, bytes] | None:
        """Seconds to wait, and the request; None where there is no more to ask."""
        now = time.perf_counter()
        self._due = max(self._due + self._interval, now - self._interval)
        if now >= self._until or self._due >= self._until or (request := self._make()) is None:
            return None
        return max(self._due - now, 0.0), request


class _Client(asyncio.Protocol):
    """One connection. Not `asyncio`'s streams: those cost as much as the service does."""

    def __init__(self, turns: _Turns) -> None:
        self.times: list[float] = []
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._turns = turns
        self._answer = b""
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        self.times.append(time.perf_counter() - self._asked)
        if not self._answer.startswith(_GOOD):
            self._end(RuntimeError(repr(self._answer[:1000])))
        else:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server hung up"))

    def _go_on(self) -> None:
        self._answer = b""
        turn = self._turns.take()
        if turn is None:
            self._end(None)
        elif turn[0] == 0.0:
            self._ask(turn[1])
        else:
            self._loop.call_later(turn[0], self._ask, turn[1])

    def _ask(self, request: bytes) -> None:
        self._asked = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
        self._transport.close()


def _is_whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    _, _, length = head.lower().partition(b"\r\ncontent-length:")
    return len(body) >= int(length.partition(b"\r\n")[0])
