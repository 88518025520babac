"""News of a fit that the database has not been told yet."""

import asyncio
from collections import deque

from service.jobs.messages import Glimpse, News
from service.jobs.records import FitProgress


class Untold:
    """Room for the newest progress and for all glimpses, of which a fit has few: nobody waits to put news in.

    Attributes
    ----------
    glimpses
        In the order in which they came; whoever has told the first one takes it out.
    """

    def __init__(self) -> None:
        self.glimpses: deque[Glimpse] = deque()
        self._progress: FitProgress | None = None
        self._is_new = asyncio.Event()

    def put(self, news: News) -> None:
        """Add a glimpse, or have a progress take the place of the one before."""
        match news:
            case Glimpse():
                self.glimpses.append(news)
            case FitProgress():
                self._progress = news
                # Glimpses go with the progress that comes right after them.
                self._is_new.set()

    async def progress(self) -> FitProgress:
        """The newest progress, once there is one that was not asked for yet."""
        await self._is_new.wait()
        self._is_new.clear()
        assert self._progress is not None
        return self._progress
