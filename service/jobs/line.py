"""A line between a worker and its child: messages go over a socket, pickled, arrays beside the pickle.

So neither side holds an array twice: it is sent from where it lies, and received into its place.
"""

import pickle
import socket
import struct
from typing import Any

import numpy as np

_COUNT = struct.Struct("<Q")


class Line:
    """One end. One thread may send while another receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, message: object) -> None:
        """Send any object that can be pickled; returns when the other side has room for the rest of it."""
        beside: list[pickle.PickleBuffer] = []
        parts = [memoryview(pickle.dumps(message, protocol=5, buffer_callback=beside.append))]
        parts += [buffer.raw() for buffer in beside]
        self._socket.sendall(struct.pack(f"<{1 + len(parts)}Q", len(parts), *map(len, parts)))
        for part in parts:
            self._socket.sendall(part)

    def receive(self) -> Any:
        """The next message; its arrays are read-only. Raises EOFError where the other end is gone."""
        (count,) = _COUNT.unpack(self._take(_COUNT.size))
        lengths = struct.unpack(f"<{count}Q", self._take(count * _COUNT.size))
        body, *beside = [self._take(length) for length in lengths]
        return pickle.loads(body, buffers=beside)

    def close(self) -> None:
        self._socket.close()

    def _take(self, length: int) -> memoryview:
        place = np.empty(length, np.uint8).data
        done = 0
        while done < length:
            received = self._socket.recv_into(place[done:])
            if received == 0:
                raise EOFError("the other end of the line is gone")
            done += received
        return place.toreadonly()
