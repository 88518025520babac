"""What tests of the cases ask a service for."""

import json
import urllib.request
from typing import Any


def fitted(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """The fit that a body asks for, finished."""
    fit = posted(address, "/v1/fits", body)
    assert fit["status"] == "succeeded", fit["error"]
    return fit


def posted(address: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a POST answers: a fit is run, whether or not an earlier test has had it run."""
    headers = {"Content-Type": "application/json", "Prefer": "wait=60", "Cache-Control": "no-cache"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, headers, method="POST")
    with urllib.request.urlopen(request, timeout=90) as answer:
        parsed: dict[str, Any] = json.load(answer)
    return parsed


def remedied(address: str, remedy: dict[str, Any]) -> dict[str, Any]:
    """The fit that a remedy starts, finished."""
    fit = posted(address, remedy["href"])
    assert fit["status"] == "succeeded", fit["error"]
    return fit
