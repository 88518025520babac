"""The console script: one clear text for each failure, never a traceback."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service import __version__

ROOT = Path(__file__).parents[1]


def plumbline(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PLUMBLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env={**bare, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.server.ready else 503)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b'{"detail": "no worker listens"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_version() -> None:
    assert plumbline("--version").stdout == f"plumbline {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--fast"], ["migrate", "twice"]])
def test_a_wrong_use(arguments: list[str]) -> None:
    done = plumbline(*arguments)
    assert done.returncode == 2
    assert "usage: plumbline" in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "health"])
def test_a_wrong_setting(command: str) -> None:
    done = plumbline(command, PLUMBLINE_PORT="99999")
    assert done.returncode == 1
    assert "PLUMBLINE_PORT cannot be '99999'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["worker", "migrate"])
def test_a_command_that_needs_a_database(command: str) -> None:
    done = plumbline(command)
    assert done.returncode == 1
    assert "PLUMBLINE_DATABASE_URL" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_migrate(empty_database_url: str) -> None:
    done = plumbline("migrate", PLUMBLINE_DATABASE_URL=empty_database_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM fit").fetchone() == (0,)


def test_serve_says_why_not() -> None:
    done = plumbline("serve", PLUMBLINE_HOST="192.0.2.1", PLUMBLINE_DATABASE_URL="postgresql://192.0.2.1/d")
    assert done.returncode == 1
    assert done.stderr.startswith("plumbline: cannot listen on 192.0.2.1")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("ready", "code", "said"), [(True, 0, ""), (False, 1, "plumbline: no worker listens\n")])
def test_health(ready: bool, code: int, said: str, server: http.server.ThreadingHTTPServer) -> None:
    server.ready = ready  # type: ignore[attr-defined]
    done = plumbline("health", PLUMBLINE_HOST="0.0.0.0", PLUMBLINE_PORT=str(server.server_port))
    assert (done.returncode, done.stderr) == (code, said)


def test_health_of_nothing(tmp_path: Path) -> None:
    done = plumbline("health", PLUMBLINE_PORT="1", HOME=str(tmp_path))
    assert done.returncode == 1
    assert "nothing answers at http://127.0.0.1:1" in done.stderr
