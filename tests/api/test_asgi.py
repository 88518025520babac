"""The API as a process of its own: on a socket it was given, on a lifeline, until it is told to stop."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
import psutil
import psycopg
import pytest

ROOT = Path(__file__).parents[2]
BODY = {"data": {"x": [1, 2, 3], "y": [1, 2, 4]}, "solver": {"optimizer": {"kind": "adam"}}}
SMALL = BODY | {"solver": {"kind": "exact"}, "inference": {"standard_errors": "hc3", "collinearity": True}}
PATIENCE = 30.0


@dataclass
class Served:
    """A running API process; closing `lifeline` cuts it."""

    process: subprocess.Popen[str]
    url: str
    lifeline: int


@pytest.fixture
def served(database_url: str) -> Iterator[Served]:
    """An API process as the supervisor starts it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "service.asgi"]
        command += ["--listen-fd", str(listener.fileno()), "--lifeline-fd", str(read_end)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PLUMBLINE_DATABASE_URL": database_url},
            pass_fds=(listener.fileno(), read_end),
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(read_end)
        served = Served(process, f"http://127.0.0.1:{listener.getsockname()[1]}", write_end)
    with process, closing(os.fdopen(write_end, "wb")):
        # The socket listens already: the first answer is held back until the process serves.
        assert httpx.get(served.url + "/health/live", timeout=PATIENCE).status_code == 200
        yield served
        process.kill()


def _end(served: Served) -> tuple[int, str]:
    assert served.process.stderr is not None
    code = served.process.wait(PATIENCE)
    return code, served.process.stderr.read()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_peace(served: Served, name: signal.Signals) -> None:
    served.process.send_signal(name)
    code, log = _end(served)
    assert code == 0
    assert "Traceback" not in log


def test_the_end_of_the_lifeline_ends_it(served: Served) -> None:
    # A duplicate of nothing: the fixture's own handle still closes cleanly afterwards.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, served.lifeline)
    os.close(null)
    assert _end(served)[0] == 0


def test_held_answers_are_given_when_it_stops(served: Served) -> None:
    answers: list[httpx.Response] = []
    body = BODY | {"labels": {"held": "yes"}}

    def post() -> None:
        answers.append(httpx.post(served.url + "/v1/fits", json=body, headers={"prefer": "wait=50"}, timeout=PATIENCE))

    posting = threading.Thread(target=post)
    posting.start()
    while posting.is_alive() and not httpx.get(served.url + "/v1/fits?label.held=yes").json()["fits"]:
        time.sleep(0.01)
    started = time.monotonic()
    served.process.terminate()
    posting.join(PATIENCE)
    assert _end(served)[0] == 0
    assert time.monotonic() - started < 4
    assert answers[0].status_code == 202


def test_what_was_answered_before_it_stopped_is_stored(served: Served, database_url: str) -> None:
    answered: list[str] = []

    def post_until_it_is_gone() -> None:
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client, suppress(httpx.TransportError):
            while (answer := client.post("/v1/fits", json=SMALL)).status_code == 201:
                answered.append(answer.json()["id"])

    posting = [threading.Thread(target=post_until_it_is_gone) for _ in range(4)]
    for thread in posting:
        thread.start()
    while len(answered) < 50 and any(thread.is_alive() for thread in posting):
        time.sleep(0.01)
    served.process.terminate()
    for thread in posting:
        thread.join(PATIENCE)
    assert _end(served) == (0, "")
    assert len(answered) >= 50
    with psycopg.connect(database_url) as connection:
        stored = {str(row[0]) for row in connection.execute("SELECT id FROM fit WHERE status = 'succeeded'")}
    assert set(answered) <= stored


def test_clients_that_hang_up_are_let_go(served: Served) -> None:
    request = json.dumps(BODY).encode()
    head = f"POST /v1/fits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(request)}\r\n"
    host, port = served.url.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + b"Prefer: wait=50\r\n\r\n" + request)
    assert httpx.get(served.url + "/v1/fits").status_code == 200
    served.process.terminate()
    assert _end(served)[0] == 0


def test_a_body_over_the_limit_is_refused_while_it_is_being_sent(served: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * (1 << 20)

    headers = {"content-type": "application/json"}
    for content in (endless(), b" " * (65 << 20)):
        answer = httpx.post(served.url + "/v1/fits", content=content, headers=headers, timeout=PATIENCE)
        assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_it_says_nothing_about_itself(served: Served) -> None:
    answer = httpx.get(served.url + "/health/live")
    assert "server" not in answer.headers
    assert httpx.head(served.url + "/health/live").content == b""
    page = httpx.get(served.url + "/docs")
    assert page.status_code == 200
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(addresses) == 3
    for address in addresses:
        assert httpx.get(urljoin(served.url, address)).status_code == 200, "nothing is fetched from elsewhere"
        assert urljoin(served.url, address).startswith(served.url)
    assert httpx.get(served.url + "/openapi.json").json()["openapi"].startswith("3.1")


def _talk(served: Served, *pieces: bytes) -> bytes:
    """What comes back until the server hangs up, for bytes sent piece by piece."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"


def test_an_offer_of_another_protocol_is_ignored(served: Served) -> None:
    body = json.dumps(BODY).encode()
    head = b"POST /v1/fits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    last = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    whole = head + H2C + length + body
    chunked = head + H2C + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for pieces in (
        (whole, last),
        (whole[:40], whole[40:140], whole[140:-5], whole[-5:] + last),
        (whole + last,),
        (chunked + last,),
    ):
        answers = _talk(served, *pieces)
        assert answers.count(b"HTTP/1.1 202 Accepted") == 1, answers
        assert answers.endswith(b'{"status":"live"}')
    upgrading = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    answers = _talk(served, (upgrading + WEBSOCKET + b"\r\n") * 1000 + last)
    assert answers.count(b'{"status":"live"}') == 1001
    served.process.terminate()
    assert _end(served) == (0, "")


NOT_HTTP = {
    "nonsense": b"NONSENSE\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
    "bytes in the path": b"GET /v1/cases/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST /v1/fits HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n{}",
    "a bad chunk": b"POST /v1/fits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


def test_what_is_not_http_is_a_problem_and_no_news(served: Served) -> None:
    for name, request in NOT_HTTP.items():
        head, _, body = _talk(served, request).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n"), name
        assert b"content-type: application/problem+json" in head
        assert b"content-length: %d" % len(body) in head
        assert json.loads(body)["code"] == "unreadable-request"
    served.process.terminate()
    assert _end(served) == (0, "")


def test_without_a_database_it_says_so() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PLUMBLINE_")}
    command = [sys.executable, "-m", "service.asgi"]
    run = subprocess.run(
        command, cwd=ROOT, env=environment | {"PLUMBLINE_PORT": "x"}, capture_output=True, text=True, timeout=PATIENCE
    )
    assert run.returncode == 2
    assert "PLUMBLINE_PORT" in run.stderr


HEAVY = ("tensorflow", "keras", "numba", "llvmlite", "sklearn", "sqlalchemy", "alembic", "pyarrow", "pandas")


def test_the_serving_process_leaves_the_cores_to_the_workers() -> None:
    program = """if True:
        import service.asgi
        from service.fitting.threads import pools

        async def serve(*_):
            print(set(pools().values()))

        service.asgi.serve = serve
        service.asgi.main([])
    """
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "{1}"


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="this system does not tell")
def test_the_serving_process_stays_light_when_it_fits(served: Served) -> None:
    process = psutil.Process(served.process.pid)
    assert httpx.post(served.url + "/v1/fits", json=SMALL).status_code == 201
    libraries = {part for mapped in process.memory_maps() for part in Path(mapped.path).parts}
    assert "numpy" in libraries
    assert not libraries & set(HEAVY)
    assert process.memory_info().rss <= 150 * 2**20
