"""What a fit says while it runs, made ready to be stored."""

import time
from collections.abc import Callable

import numpy as np

from service.fitting.solution import Solution
from service.fitting.task import Progress
from service.fitting.trajectory import Trajectory
from service.jobs.messages import Part, Solved
from service.jobs.records import TrajectoryExtent

PROGRESS_SECONDS = 0.2

#: Bytes of a part that is not told before it is known whether it is the last: beside it there is the next one.
_SHORT = 1 << 20


class Teller:
    """An observer that passes progress on a few times a second, and what is written down as it comes.

    A short last part of a trajectory goes with the answer: it needs no message of its own.
    """

    def __init__(self, tell: Callable[[Progress | Part], None]) -> None:
        self._tell = tell
        self._next = 0.0
        self._progress: Progress | None = None
        self._extent: TrajectoryExtent | None = None
        self._last: Part | None = None
        self._parts = 0

    def progress(self, progress: Progress) -> bool:
        """See `Observer`."""
        self._progress = progress
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_SECONDS
            self._tell(progress)
        return True

    def recorded(self, part: Trajectory) -> None:
        """See `Observer`."""
        before = self._extent or TrajectoryExtent(0, 0)
        self._extent = TrajectoryExtent(before.recorded + part.recorded, max(before.total_steps, part.total_steps))
        self._tell_last()
        self._last = _part(part, self._parts)
        self._parts += 1
        if part.records.nbytes > _SHORT:
            self._tell_last()

    def _tell_last(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            self._tell(last)

    def solved(self, solution: Solution) -> Solved:
        """The answer, with all that was not told before."""
        end_state = None if solution.standing is None else solution.standing.to_bytes()
        return Solved(solution.report, self._extent, self._last, self._progress, end_state)


def _part(part: Trajectory, ordinal: int) -> Part:
    account = part.account.to_bytes() if ordinal == 0 else None
    first, last = int(part.records["step"][0]), part.total_steps
    return Part(ordinal, account, part.recorded, first, last, part.records.view(np.uint8))
