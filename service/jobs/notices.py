"""Notices that a fit changed: one listening connection for all who wait in this process."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import LiteralString
from uuid import UUID

from psycopg import AsyncConnection, OperationalError

from service.database.cancellation import end_if_cancelled
from service.database.pool import APPLICATION_NAME, watchful
from service.jobs.attempts import CHANNEL
from service.jobs.fits import FitStore
from service.jobs.records import FitRecord
from service.jobs.transitions import is_final

# A notice can be lost with its connection, and a dead connection can look alive for minutes: look again by then.
REREAD_SECONDS = 2.0
_RECONNECT_SECONDS = 0.5
_CHECK_SECONDS = 15.0

logger = logging.getLogger(__name__)


class Notices:
    """Wakes those who wait for news of a fit when the database tells of some.

    Parameters
    ----------
    channel
        The PostgreSQL channel on which the news come; their payload is the fit's id.
    """

    def __init__(self, url: str, channel: LiteralString) -> None:
        self._url = url
        self._channel = channel
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._is_lost = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen for as long as the context is open."""
        listener = asyncio.create_task(self._listen_always(), name="fit notices")
        try:
            yield
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    @contextmanager
    def subscription(self, fit_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set at all news of this fit from now on, and whenever some may have been missed.

        The holder clears it.
        """
        changed, payload = asyncio.Event(), str(fit_id)
        self._waiting[payload].add(changed)
        try:
            yield changed
        finally:
            self._waiting[payload].discard(changed)
            if not self._waiting[payload]:
                del self._waiting[payload]

    async def _listen_always(self) -> None:
        while True:
            try:
                await self._listen()
            except OperationalError as error:
                # Once an outage, not twice a second.
                logger.log(logging.DEBUG if self._is_lost else logging.WARNING, "No notices of fits: %s", error)
                self._is_lost = True
            end_if_cancelled()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await AsyncConnection.connect(
            watchful(self._url), autocommit=True, application_name=APPLICATION_NAME
        )
        async with connection:
            await connection.execute(f"LISTEN {self._channel}")
            self._is_lost = False
            # Whatever changed while nobody listened.
            self._wake(*self._waiting)
            while True:
                async for notice in connection.notifies(timeout=_CHECK_SECONDS):
                    self._wake(notice.payload)
                await connection.execute("SELECT 1")
                end_if_cancelled()

    def _wake(self, *payloads: str) -> None:
        for payload in payloads:
            for changed in self._waiting.get(payload, ()):
                changed.set()


class FitNotices(Notices):
    """Wakes those who wait for a fit when the database says that it changed."""

    def __init__(self, url: str, fits: FitStore) -> None:
        super().__init__(url, CHANNEL)
        self._fits = fits

    async def wait(self, fit_id: UUID, seconds: float) -> FitRecord | None:
        """Return the fit as soon as it is finished, else as it is after `seconds`; None where there is none.

        Raises
        ------
        psycopg.OperationalError
            The database is away from the start. If it goes away later, the last that was read is returned in time.
        """
        deadline = time.monotonic() + seconds
        with self.subscription(fit_id) as changed:
            # Subscribed before the first look: a finish between the two is not missed.
            record = await self._fits.get(fit_id)
            while record and not is_final(record.status) and (left := deadline - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), min(left, REREAD_SECONDS))
                end_if_cancelled()
                changed.clear()
                with suppress(OperationalError):
                    record = await self._fits.get(fit_id)
        return record
