"""The headers `Prefer` (RFC 7240) and `Cache-Control` (RFC 9111): what is not understood is ignored, as both ask."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: Both, as a route's `openapi_extra` declares them.
PREFER_PARAMETER: dict[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "wait=<seconds> to hold the answer, or respond-async.",
    "schema": {"type": "string"},
}
CACHE_PARAMETER: dict[str, Any] = {
    "name": "Cache-Control",
    "in": "header",
    "required": False,
    "description": "no-cache, or no-store, to have a fit run even if an identical one is finished.",
    "schema": {"type": "string"},
}


@dataclass(frozen=True)
class Preference:
    """How long an answer may be held back, and what to say of it in `Preference-Applied`."""

    seconds: float
    applied: str | None

    @property
    def is_async(self) -> bool:
        """Whether the answer is to come before the work."""
        return self.applied == _ASYNC

    @property
    def headers(self) -> dict[str, str]:
        """What is sent along with the answer."""
        return {} if self.applied is None else {"Preference-Applied": self.applied}


_ASYNC = "respond-async"

NO_PREFERENCE = Preference(0.0, None)


def preference(headers: Iterable[str], most_seconds: float) -> Preference:
    """What the client prefers: ``respond-async`` wins over ``wait``, and the first ``wait`` over the others."""
    items = [item.partition(";")[0].strip() for item in _items(headers)]
    if _ASYNC in items:
        return Preference(0.0, _ASYNC)
    for item in items:
        name, _, value = item.partition("=")
        number = value.strip().strip('"')
        if name.strip() == "wait" and number.isascii() and number.isdecimal():
            return _wait(number, most_seconds)
    return NO_PREFERENCE


def _wait(number: str, most_seconds: float) -> Preference:
    # Nobody waits for a number of more than nine digits, and int() refuses very long ones.
    seconds = min(float(number[:9]), most_seconds)
    return Preference(seconds, f"wait={seconds:g}")


def wants_fresh(headers: Iterable[str]) -> bool:
    """Whether `Cache-Control` asks for an answer that has not been given before."""
    return any(item in ("no-cache", "no-store") for item in _items(headers))


def _items(headers: Iterable[str]) -> list[str]:
    return [item.strip().lower() for header in headers for item in header.split(",")]
