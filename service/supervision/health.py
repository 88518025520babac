"""Asking a service whether it is ready, as the supervisor, `plumbline health` and a container's HEALTHCHECK do."""

import http.client
import json
from urllib.parse import urlsplit

_ROUTE = "/health/ready"


def unreadiness(address: str, timeout: float = 5.0) -> str | None:
    """Return why the service at an address takes no fits, or None when it does and has a worker for them."""
    parts = urlsplit(address)
    # Not urllib: that would ask a proxy named in the environment.
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", _ROUTE)
        answer = connection.getresponse()
        return None if answer.status == http.client.OK else _reason(answer)
    except (OSError, http.client.HTTPException) as error:
        return f"nothing answers at {address}: {error!r}"
    finally:
        connection.close()


def _reason(answer: http.client.HTTPResponse) -> str:
    try:
        return str(json.loads(answer.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{_ROUTE} answers {answer.status}"
