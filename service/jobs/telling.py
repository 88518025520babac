"""What a fit says while it runs, made ready to be stored."""

import time
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.fitting.solution import Solution
from service.fitting.task import Progress
from service.fitting.trajectory import Trajectory
from service.jobs.messages import Glimpse, News, Part, Solved
from service.jobs.records import FitProgress, TrajectoryExtent
from service.jobs.shown import as_shown

PROGRESS_SECONDS = 0.2
#: So many of them, the last ones, say how fast it goes.
_TOLD_IN_PACE = 16

#: Bytes of a part that is not told before it is known whether it is the last: beside it there is the next one.
_SHORT = 1 << 20


class Teller:
    """An observer that passes progress and glimpses on a few times a second, and what is written down as it comes.

    Of a fit that is over sooner than that, nothing is told on the way. A short last part of a trajectory goes with the
    answer: it needs no message of its own.

    Parameters
    ----------
    go_on
        Asked between blocks of steps; False stops the fit.
    """

    def __init__(self, tell: Callable[[News | Part], None], go_on: Callable[[], bool] = lambda: True) -> None:
        self._tell = tell
        self._go_on = go_on
        self._next = time.monotonic() + PROGRESS_SECONDS
        self._pace = _Pace()
        self._glimpses = 0
        self._progress: Progress | None = None
        self._extent: TrajectoryExtent | None = None
        self._last: Part | None = None
        self._parts = 0

    def glimpsed(self, rows: Callable[[], Trajectory]) -> None:
        """See `Observer`."""
        if time.monotonic() >= self._next and (seen := rows()).recorded:
            self._tell(_glimpse(seen, self._glimpses))
            self._glimpses += 1

    def progress(self, progress: Progress) -> bool:
        """See `Observer`."""
        now, is_first = time.monotonic(), self._progress is None
        self._progress = progress
        if is_first or now >= self._next:
            rate = self._pace.at(now, progress.steps_done)
        if now >= self._next:
            self._next = now + PROGRESS_SECONDS
            self._tell(_timed(progress, rate))
        return self._go_on()

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
        progress = None if self._progress is None else FitProgress(**vars(self._progress))
        return Solved(solution.report, self._extent, self._last, progress, end_state)


class _Pace:
    """Steps a second, over the last few seconds of what was told."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=_TOLD_IN_PACE)

    def at(self, now: float, steps: int) -> float | None:
        """With so many steps done by now; None where it is the first that is heard of them."""
        self._seen.append((now, steps))
        began, before = self._seen[0]
        return (steps - before) / (now - began) if now > began else None


def _timed(progress: Progress, rate: float | None) -> FitProgress:
    left = (progress.steps_total - progress.steps_done) / rate if rate else None
    return FitProgress(**vars(progress), steps_per_second=rate, seconds_left=left)


def _glimpse(rows: Trajectory, ordinal: int) -> Glimpse:
    return Glimpse(*_piece(as_shown(rows), ordinal))


def _part(part: Trajectory, ordinal: int) -> Part:
    return Part(*_piece(part, ordinal))


def _piece(rows: Trajectory, ordinal: int) -> tuple[int, bytes | None, int, int, int, NDArray[np.uint8]]:
    account = rows.account.to_bytes() if ordinal == 0 else None
    first, last = int(rows.records["step"][0]), rows.total_steps
    return ordinal, account, rows.recorded, first, last, rows.records.view(np.uint8)
