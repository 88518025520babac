"""A real API process without a worker, for a client to talk to."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

_PATIENCE = 60.0


@pytest.fixture(scope="module")
def address(database_url: str) -> Iterator[str]:
    """The address of an API on the module's database: small fits are finished at once, others stay queued."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "service.asgi", "--listen-fd", str(listener.fileno())]
        variables = os.environ | {"PLUMBLINE_DATABASE_URL": database_url}
        process = subprocess.Popen(command, env=variables, pass_fds=(listener.fileno(),))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with process:
        # The socket listens already: the first answer is held back until the process serves.
        assert httpx.get(address + "/health/live", timeout=_PATIENCE).status_code == 200
        yield address
        process.terminate()
