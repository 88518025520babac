"""Reading events: as the standard has them, and through connections that are lost."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.watching.events import Event, EventReader, follow
from service.watching.remote import Refused, Remote, RemoteError, Unreachable

_DONE = b'event: status\ndata: {"status": "succeeded"}\nid: 9\n\n'


def _read(text: bytes) -> list[Event]:
    return list(EventReader().read(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b'event: status\ndata: {"a": 1}\nid: 7\n\n', [Event("status", {"a": 1}, "7")]),
        (b'event:status\r\ndata:{"a": 1}\r\nid:7\r\n\r\n', [Event("status", {"a": 1}, "7")]),
        (b':\n\n: hello\nevent: x\ndata: {"a":\ndata: 1}\n\n', [Event("x", {"a": 1}, "")]),
        (b"id: 3\n\ndata: {}\n\nid:\ndata: {}\n\n", [Event("", {}, "3"), Event("", {}, "")]),
        (b"event: x\n\ndata: {}\n\n", [Event("", {}, "")]),
        (b"data: {}\nid: 5\n", []),
        (
            'data: {"é": "\N{GREEK SMALL LETTER BETA}"}\n\n'.encode(),
            [Event("", {"é": "\N{GREEK SMALL LETTER BETA}"}, "")],
        ),
    ],
)
def test_what_is_an_event(text: bytes, events: list[Event]) -> None:
    assert _read(text) == events


def test_an_event_that_was_cut_off_is_not_where_the_stream_goes_on() -> None:
    reader = EventReader()
    assert len(list(reader.read([b"retry: 30\n", b"data: {}\n", b"id: 4\n", b"\n", b"data: {}\n", b"id: 5\n"]))) == 1
    assert (reader.last_id, reader.retry_seconds) == ("4", 0.03)
    assert [event.id for event in reader.read([b"data: {}\n", b"\n"])] == ["4"]


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the server's next text, of which it says that there is more to come."""

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Last-Event-ID"])  # type: ignore[attr-defined]
        status, text = self.server.answers.pop(0)  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text) + (100 if status == 200 and _DONE not in text else 0)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(*answers: tuple[int, bytes]) -> Iterator[tuple[Remote, list[str | None]]]:
    """A server that cuts every connection but the last."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        asked: list[str | None] = []
        server.asked, server.answers = asked, list(answers)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Remote(f"http://127.0.0.1:{server.server_port}"), asked
        finally:
            server.shutdown()
            thread.join()


def test_a_lost_connection_is_made_again_and_goes_on_where_it_was() -> None:
    first = b'retry: 1\n\ndata: {"k": 1}\nid: 4\n\ndata: {"k": 2}\nid: 5\n'
    with _serving((200, first), (503, b"{}"), (200, b'data: {"k": 2}\nid:\n\nda'), (200, _DONE)) as (remote, asked):
        events = list(follow(remote, "/fit"))
    assert [event.data for event in events] == [{"k": 1}, {"k": 2}, {"status": "succeeded"}]
    assert asked == [None, "4", "4", None]


def test_a_fit_that_is_gone_is_not_waited_for() -> None:
    gone = b'{"title": "No", "detail": "There is none."}'
    with (
        _serving((200, b"retry: 1\n\n"), (404, gone)) as (remote, _),
        pytest.raises(Refused, match=r"No\. There is none\."),
    ):
        list(follow(remote, "/fit"))


def test_patience_has_an_end() -> None:
    with _serving((200, b"retry: 1\n\n")) as (remote, _):
        events = follow(remote, "/fit", patience_seconds=0.0)
        with pytest.raises(RemoteError):
            # The server has no more answers.
            list(events)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "localhost", "ftp://x"])
def test_where_nothing_answers(address: str) -> None:
    with pytest.raises(Unreachable, match=address.removeprefix("http://")):
        list(follow(Remote(address), "/fit"))
