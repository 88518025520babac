"""A line between a worker and its child: messages go over a socket, pickled, arrays beside the pickle.

So neither side holds an array twice: it is sent from where it lies, and received into its place.
"""

import asyncio
import pickle
import socket
import struct
from typing import Any

import numpy as np

_COUNT = struct.Struct("<Q")


class Line:
    """The child's end: its methods wait. One thread may send while another receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, message: object) -> None:
        """Send any object that can be pickled; returns when the other side has room for the rest of it."""
        for piece in _pieces(message):
            self._socket.sendall(piece)

    def receive(self) -> Any:
        """The next message; its arrays are read-only. Raises EOFError where the other end is gone."""
        (count,) = _COUNT.unpack(self._take(_COUNT.size))
        body, *beside = [self._take(length) for length in _lengths(self._take(count * _COUNT.size))]
        return pickle.loads(body, buffers=beside)

    def close(self) -> None:
        self._socket.close()

    def _take(self, length: int) -> memoryview:
        place = _place(length)
        done = 0
        while done < length:
            done += _some(self._socket.recv_into(place[done:]))
        return place.toreadonly()


class AwaitedLine:
    """The worker's end, of an event loop: whoever waits can be cancelled, and the line is of no more use then.

    One task may receive while others send, each of them a whole message at a time.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._sending = asyncio.Lock()

    async def send(self, message: object) -> None:
        """Send any object that can be pickled; returns when the other side has room for the rest of it."""
        loop = asyncio.get_running_loop()
        async with self._sending:
            for piece in _pieces(message):
                await loop.sock_sendall(self._socket, piece)

    async def receive(self) -> Any:
        """The next message; its arrays are read-only. Raises EOFError where the other end is gone."""
        (count,) = _COUNT.unpack(await self._take(_COUNT.size))
        body, *beside = [await self._take(length) for length in _lengths(await self._take(count * _COUNT.size))]
        return pickle.loads(body, buffers=beside)

    def close(self) -> None:
        self._socket.close()

    async def _take(self, length: int) -> memoryview:
        loop, place = asyncio.get_running_loop(), _place(length)
        done = 0
        while done < length:
            done += _some(await loop.sock_recv_into(self._socket, place[done:]))
        return place.toreadonly()


def _pieces(message: object) -> list[bytes | memoryview]:
    """What goes over the line: how many parts there are, how long they are, the pickle; and what lies beside it."""
    beside: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=beside.append)
    arrays = [buffer.raw() for buffer in beside]
    count = 1 + len(arrays)
    return [struct.pack(f"<{1 + count}Q", count, len(body), *map(len, arrays)) + body, *arrays]


def _lengths(packed: memoryview) -> tuple[int, ...]:
    return struct.unpack(f"<{len(packed) // _COUNT.size}Q", packed)


def _place(length: int) -> memoryview:
    return np.empty(length, np.uint8).data


def _some(received: int) -> int:
    if received == 0:
        raise EOFError("the other end of the line is gone")
    return received
