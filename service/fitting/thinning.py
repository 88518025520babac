"""Thins a trajectory: evenly, and without losing the first row, the last one, or that of least loss."""

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.account import Account
from service.fitting.recording import RecordedSteps
from service.fitting.trajectory import Trajectory


def place_of_least(losses: FloatArray) -> int:
    """Where the least loss stands first; NaN is none."""
    return int(np.where(np.isnan(losses), np.inf, losses).argmin())


def place_to_give(steps: IntArray, step: int) -> int | None:
    """Which of ascending steps gives its place to another: the nearest that is neither the first nor the last."""
    between = steps[1:-1]
    return 1 + int(np.abs(between - step).argmin()) if len(between) else None


def places_kept(losses: FloatArray, limit: int | None) -> IntArray:
    """The places, at most `limit`, that are kept of rows with these losses; None keeps all.

    With a limit of 2 only the first row and the last are kept.
    """
    evenly = _evenly(len(losses), limit)
    places = evenly.kept(-1, len(losses) - 1)
    least = place_of_least(losses) if evenly.are_thinned else 0
    given = None if least in places else place_to_give(places, least)
    return places if given is None else np.sort(np.append(np.delete(places, given), least))


class Thinning:
    """The same for a trajectory that comes part by part, in ascending order of step, and is never held whole.

    Parameters
    ----------
    count
        How many rows there are.
    limit
        At least 2; None keeps all.
    """

    def __init__(self, account: Account, count: int, limit: int | None) -> None:
        self._evenly = _evenly(count, limit)
        self._met = 0
        self._kept = [Trajectory(account, np.empty(0, account.layout))]
        self._least: Trajectory | None = None

    def take(self, part: Trajectory) -> None:
        """The next rows."""
        if not self._evenly.are_thinned:
            self._kept.append(part)
            return
        places = self._evenly.kept(self._met - 1, self._met + part.recorded - 1)
        self._kept.append(part.take(places - self._met))
        self._met += part.recorded
        if part.recorded:
            least = part.take(np.array([place_of_least(part.original.loss)]))
            if self._least is None or least.original.loss < self._least.original.loss:
                self._least = least

    @property
    def size(self) -> int:
        """Bytes of what is kept."""
        return sum(part.records.nbytes for part in self._kept)

    def whole(self) -> Trajectory:
        """What is kept, after all parts were taken."""
        kept, least = Trajectory.joined(self._kept), self._least
        if least is None or least.total_steps in kept.step:
            return kept
        given = place_to_give(kept.step, least.total_steps)
        if given is None:
            return kept
        return Trajectory.joined([kept.take(np.delete(np.arange(kept.recorded), given)), least])


def _evenly(count: int, limit: int | None) -> RecordedSteps:
    return RecordedSteps(1, 0, count - 1, max(count, 1) if limit is None else limit)
