"""What tests of the cases ask a service for."""

import json
import urllib.request
from typing import Any


def fitted(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """The fit that a body asks for, finished."""
    headers = {"Content-Type": "application/json", "Prefer": "wait=60"}
    request = urllib.request.Request(f"{address}/v1/fits", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=90) as answer:
        fit: dict[str, Any] = json.load(answer)
    assert fit["status"] == "succeeded", fit["error"]
    return fit
