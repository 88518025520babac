"""Choosing a media type by `Accept` (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence

from service.api.refusals import NotAcceptable

_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


def choose(accept: str | None, offered: Sequence[str]) -> str:
    """The offered type the client likes best; the first of those it likes equally.

    Raises
    ------
    NotAcceptable
        It likes none of them.
    """
    ranges = [_range(item) for item in (accept or "*/*").split(",") if item.strip()]
    liking = {media_type: _quality(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: liking[media_type])
    if liking[best] <= 0:
        raise NotAcceptable(f"On offer are {', '.join(offered)}.")
    return best


def _range(item: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    return media_range, float(quality) if _QUALITY.fullmatch(quality) else 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the most specific range the type is in; 0 where it is in none."""
    family = media_type.partition("/")[0]
    for wanted in (media_type, f"{family}/*", "*/*"):
        for media_range, quality in ranges:
            if media_range == wanted:
                return quality
    return 0.0
