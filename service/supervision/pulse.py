"""A worker's pulse: a file that it touches for as long as it gets round to it, for those who cannot ask it anything."""

import asyncio
import logging
import time
from pathlib import Path

_BEAT_SECONDS = 3.0
#: Without a beat for this long, a worker counts as stuck.
STILL_AFTER_SECONDS = 15.0

logger = logging.getLogger(__name__)


async def beat(file: Path | None) -> None:
    """Touch the file again and again, until cancelled; None is nothing to do."""
    while file is not None:
        try:
            file.touch()  # noqa: ASYNC240 - the loop is what is felt
        except OSError as error:
            logger.warning("PLUMBLINE_PULSE_FILE cannot be touched: %s", error)
        await asyncio.sleep(_BEAT_SECONDS)


def stillness(file: Path) -> str | None:
    """Return why there is no worker behind the file that works, or None when there is."""
    try:
        age = time.time() - file.stat().st_mtime
    except OSError as error:
        return f"no worker has touched {file} yet: {error.strerror}"
    return f"the worker has not touched {file} for {age:.0f} seconds" if age > STILL_AFTER_SECONDS else None
