"""Addresses: what is listened on, and what a client is told."""

import socket

import pytest

from service.supervision.address import listen, url, url_of
from service.supervision.errors import SupervisorError


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("192.0.2.7", "http://192.0.2.7:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("2001:db8::7", "http://[2001:db8::7]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_a_url_is_of_use_to_a_client(host: str, expected: str) -> None:
    assert url_of(host, 80) == expected


def test_port_zero_is_resolved() -> None:
    with listen("0.0.0.0", 0) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert url(listener) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_a_name_of_no_machine() -> None:
    with pytest.raises(SupervisorError, match="PLUMBLINE_HOST"):
        listen("no-such-host.invalid", 0)


def test_a_port_that_comes_free_in_time_is_taken() -> None:
    holder = listen("127.0.0.1", 0)
    port = holder.getsockname()[1]
    with pytest.raises(SupervisorError, match="is taken"):
        listen("127.0.0.1", port, patience=0.1)
    holder.close()
    listen("127.0.0.1", port, patience=10.0).close()
