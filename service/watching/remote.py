"""A running service, spoken to over HTTP.

RemoteError
├── Unreachable   nothing answers, or not in HTTP
├── Refused       the service answered with a problem
└── NothingToSend the request cannot be read
"""

import json
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

#: Longer than the service leaves a stream without a sign of life.
_SILENCE_SECONDS = 45.0

Json = dict[str, Any]


class RemoteError(Exception):
    """The service does not do what was asked; the text says why, in words for the user."""


class Unreachable(RemoteError):
    """Nothing answers, or not in HTTP."""


class Refused(RemoteError):
    """The service answered with a problem: its title, and each place that is wrong with what is allowed there.

    Parameters
    ----------
    problem
        As `application/problem+json` has it.
    """

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__("\n".join(_told(problem)))
        self.status = status


class NothingToSend(RemoteError):
    """The request cannot be read."""


class Remote:
    """The service at an address, such as ``http://127.0.0.1:8000``."""

    def __init__(self, address: str) -> None:
        """Raises Unreachable for what is no such address."""
        if not address.startswith(("http://", "https://")):
            raise Unreachable(f"{address} is no address of a service, such as http://127.0.0.1:8000")
        self.address = address.rstrip("/")

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Json:
        """The JSON that is answered.

        Raises
        ------
        Unreachable, Refused
        """
        sent = {"Content-Type": "application/json"} if body is not None else {}
        with self.open(Request(self.address + path, body, {**sent, **(headers or {})}, method=method)) as answer:
            try:
                said: Json = json.load(answer)
            except (ValueError, OSError, HTTPException) as error:
                raise Unreachable(f"{self.address} does not answer as Plumbline does: {error}") from error
        return said

    def open(self, request: Request) -> HTTPResponse:
        """An answer that is still to be read. Raises as `ask` does."""
        try:
            answer: HTTPResponse = urlopen(request, timeout=_SILENCE_SECONDS)
        except HTTPError as error:
            with error:
                raise Refused(error.code, _problem(error)) from error
        except (OSError, HTTPException) as error:
            raise Unreachable(f"nothing answers at {self.address}: {getattr(error, 'reason', error)}") from error
        return answer


def _problem(error: HTTPError) -> Json:
    try:
        problem = json.loads(error.read())
    except (ValueError, OSError, HTTPException):
        problem = None
    return problem if isinstance(problem, dict) else {"title": f"The answer is {error.code} {error.reason}"}


def _told(problem: Json) -> list[str]:
    title, detail, faults = problem.get("title", "It was refused"), problem.get("detail"), problem.get("errors") or []
    if not faults:
        return [f"{title}." if detail is None else f"{title}. {detail}"]
    return [f"{title}:"] + [f"  {_place(fault)}: {fault['message']} Allowed: {fault['allowed']}." for fault in faults]


def _place(fault: Json) -> str:
    pointer = fault.get("pointer")
    if pointer is None:
        return str(fault.get("parameter"))
    return str(pointer) or "the request"
