"""The events of a fit, read as they come, through any number of lost connections."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.request import Request

from service.watching.remote import Refused, Remote, RemoteError

_FINAL = ("succeeded", "failed", "cancelled", "deleted")
_UNAVAILABLE = 503


@dataclass(frozen=True)
class Event:
    """One event: its name, what it says, and from where the stream goes on after it."""

    name: str
    data: dict[str, Any]
    id: str

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.name == "status" and self.data["status"] in _FINAL


class EventReader:
    """Reads Server-Sent Events (HTML Living Standard, section 9.2), line by line.

    Attributes
    ----------
    last_id
        To be sent as `Last-Event-ID` when the connection was lost.
    retry_seconds
        How long to wait before that.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_seconds = 1.0

    def read(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """The events of one connection; one that was cut off does not count."""
        name, data, last_id = "", [], self.last_id
        for line in lines:
            field, _, value = line.decode().rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            match field:
                case "event":
                    name = value
                case "data":
                    data.append(value)
                case "id":
                    last_id = value
                case "retry" if value.isdecimal():
                    self.retry_seconds = int(value) / 1000
                case "" if line.strip() == b"":
                    self.last_id = last_id
                    if data:
                        yield Event(name, json.loads("\n".join(data)), last_id)
                    name, data = "", []


def follow(remote: Remote, path: str, patience_seconds: float = 60.0) -> Iterator[Event]:
    """The events of the fit at a path, up to the last one.

    Parameters
    ----------
    patience_seconds
        How long the service may be away.

    Raises
    ------
    RemoteError
        It is away for longer, or was not there to begin with, or has no such fit.
    """
    reader, deadline = EventReader(), 0.0
    while True:
        try:
            with remote.open(_request(remote, path, reader.last_id)) as stream:
                deadline = time.monotonic() + patience_seconds
                for event in reader.read(stream):
                    yield event
                    if event.is_last:
                        return
                    deadline = time.monotonic() + patience_seconds
        except RemoteError as error:
            is_away = not isinstance(error, Refused) or error.status == _UNAVAILABLE
            if not is_away or time.monotonic() > deadline:
                raise
        except (OSError, HTTPException):
            pass  # The connection is lost, not the service.
        time.sleep(reader.retry_seconds)


def _request(remote: Remote, path: str, last_id: str) -> Request:
    known = {"Last-Event-ID": last_id} if last_id else {}
    return Request(f"{remote.address}{path}/events", headers={"Accept": "text/event-stream", **known})
