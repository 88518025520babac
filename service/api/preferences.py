"""The `Prefer` header (RFC 7240): what is not understood there is ignored, as the RFC asks."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Preference:
    """How long an answer may be held back, and what to say of it in `Preference-Applied`."""

    seconds: float
    applied: str | None


NO_PREFERENCE = Preference(0.0, None)


def preference(headers: Iterable[str], most_seconds: float) -> Preference:
    """What the client prefers: ``respond-async`` wins over ``wait``, and the first ``wait`` over the others."""
    items = [item.partition(";")[0].strip().lower() for header in headers for item in header.split(",")]
    if "respond-async" in items:
        return Preference(0.0, "respond-async")
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
