"""Clients that ask without a pause, each over a connection it keeps, and cost little themselves."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import uvloop

#: A whole HTTP request; called for each.
MakeRequest = Callable[[], bytes]


@dataclass(frozen=True)
class Measured:
    """How long a request took, in seconds, and how many were answered a second."""

    median: float
    per_second: float


def measure(address: str, make: MakeRequest, connections: int, seconds: float) -> Measured:
    """Ask a server for so long, after a while that warms it.

    Raises
    ------
    RuntimeError
        It answered anything but 200 or 201.
    """
    host, _, port = address.removeprefix("http://").rpartition(":")
    return uvloop.run(_measure(host, int(port), make, connections, seconds))


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


async def _measure(host: str, port: int, make: MakeRequest, connections: int, seconds: float) -> Measured:
    await _ask_for(host, port, make, connections, seconds / 4)
    times, passed = await _ask_for(host, port, make, connections, seconds)
    return Measured(statistics.median(times), len(times) / passed)


async def _ask_for(
    host: str, port: int, make: MakeRequest, connections: int, seconds: float
) -> tuple[list[float], float]:
    """The time of each request, and the time of all."""
    began = time.perf_counter()
    clients = [_Client(make, began + seconds) for _ in range(connections)]
    for client in clients:
        await asyncio.get_running_loop().create_connection(lambda client=client: client, host, port)  # type: ignore[misc]
    await asyncio.gather(*(client.ended for client in clients))
    return [spent for client in clients for spent in client.times], time.perf_counter() - began


class _Client(asyncio.Protocol):
    """One connection. Not `asyncio`'s streams: those cost as much as the service does."""

    def __init__(self, make: MakeRequest, until: float) -> None:
        self.times: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._make, self._until = make, until
        self._answer = b""
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        self.times.append(time.perf_counter() - self._asked)
        if not self._answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            self._end(RuntimeError(repr(self._answer[:1000])))
        elif time.perf_counter() >= self._until:
            self._end(None)
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        self._answer = b""
        request = self._make()
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
