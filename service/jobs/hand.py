"""The fits that a worker has begun and not yet come to terms with."""

import time
from collections import deque
from collections.abc import Iterable

from service.jobs.attempts import Attempt
from service.jobs.ends import Ending


class Hand:
    """Attempts, each of which waits, then is worked at, then has an end, and leaves when that is written down.

    Attributes
    ----------
    waiting
        In the order in which they are worked at.
    current
        The one that is worked at; None between two.
    ended
        Those whose ends are not written down.
    gave_back
        Whether some that waited went back to the queue.
    """

    def __init__(self, attempts: Iterable[Attempt] = ()) -> None:
        self.waiting = deque(attempts)
        self.current: Attempt | None = None
        self.ended: list[tuple[Attempt, Ending]] = []
        self.gave_back = False
        self._written_at = time.monotonic()

    @property
    def jobs(self) -> frozenset[int]:
        """The ids of the jobs of all of them."""
        return frozenset(attempt.job_id for attempt in (*self.unfinished, *(attempt for attempt, _ in self.ended)))

    @property
    def unfinished(self) -> list[Attempt]:
        """All that have no end."""
        return [*([] if self.current is None else [self.current]), *self.waiting]

    @property
    def seconds_unwritten(self) -> float:
        """How long ago all ends were written down."""
        return time.monotonic() - self._written_at if self.ended else 0.0

    def take(self) -> bool:
        """Have the next one worked at; False where there are no more."""
        self.current = self.waiting.popleft() if self.waiting else None
        return self.current is not None

    def end(self, ending: Ending) -> None:
        """What is worked at has come to its end."""
        assert self.current is not None
        self.ended.append((self.current, ending))
        self.current = None

    def written(self) -> None:
        """All ends are written down."""
        self.ended.clear()
        self._written_at = time.monotonic()
