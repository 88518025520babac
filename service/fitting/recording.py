"""Which steps of a descent are written down."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.fitting.arrays import IntArray

DEFAULT_LIMIT = 10_000


@dataclass(frozen=True)
class Recording:
    """Every step, every epoch's last step, or every `every` steps; thinned evenly past `limit` rows.

    Row 0 (the start) and the last step are always kept, and so is the row of least loss on all rows, where `limit` is
    3 or more. All three count towards `limit`.
    """

    every: Literal["step", "epoch"] | int = "epoch"
    coefficients: bool = True
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True)
class RecordedSteps:
    """The steps to record, known before the first one is taken.

    The regular ones are 0, every `stride`-th step, `into` of them having been taken before step 1, and `total_steps`.
    Where they are more than `limit`, as many are kept, evenly spaced, the first and the last among them.
    """

    stride: int
    into: int
    total_steps: int
    limit: int

    @property
    def regular_rows(self) -> int:
        whole, rest = divmod(self.total_steps + self.into, self.stride)
        return 1 + whole + (rest != 0)

    @property
    def rows(self) -> int:
        """How many are kept."""
        return min(self.regular_rows, self.limit)

    @property
    def are_thinned(self) -> bool:
        return self.regular_rows > self.limit

    @property
    def spacing(self) -> int:
        """Steps from one that is kept to the next, at least, but for the last."""
        return self.stride * max((self.regular_rows - 1) // (self.limit - 1), 1)

    @property
    def keeps_least(self) -> bool:
        """Whether the row of least loss is kept beside them: 2 have no room for it."""
        return self.are_thinned and self.limit > 2

    def regular(self, after: int, up_to: int) -> IntArray:
        """Those among ``after + 1 .. up_to``, ascending, thinned or not."""
        return self.every_nth(1, after, up_to)

    def every_nth(self, n: int, after: int, up_to: int) -> IntArray:
        """Those of them that stand at a multiple of n, counted from the first row."""
        first, beyond = (-(-self._place_beyond(step) // n) for step in (after, up_to))
        return self._steps(n * np.arange(first, beyond, dtype=np.int64))

    def regular_range(self, after: int, up_to: int) -> range:
        """The regular ones but the last of all, where that ends no stride."""
        first, beyond = ((step + self.into) // self.stride + 1 for step in (after, up_to))
        return range(first * self.stride - self.into, beyond * self.stride - self.into, self.stride)

    def regular_among(self, steps: IntArray) -> IntArray:
        """Those of some steps, all after the first row, that are regular."""
        if self.stride == 1:
            return steps
        regular: IntArray = steps[((steps + self.into) % self.stride == 0) | (steps == self.total_steps)]
        return regular

    def places_of(self, steps: IntArray) -> IntArray:
        """The places of some regular steps from the first row's, 0."""
        places: IntArray = (steps + self.into) // self.stride
        return places

    def kept(self, after: int, up_to: int) -> IntArray:
        """Those among ``after + 1 .. up_to`` that are kept."""
        if not self.are_thinned:
            return self.regular(after, up_to)
        first, beyond = (self._kept_before(self._place_beyond(step)) for step in (after, up_to))
        kept = np.arange(first, beyond, dtype=np.int64)
        # As `kept * (regular_rows - 1) // (limit - 1)`, which would leave int64.
        apart, rest = divmod(self.regular_rows - 1, self.limit - 1)
        return self._steps(kept * apart + kept * rest // (self.limit - 1))

    def keeps(self, step: int) -> bool:
        """Whether a step after the first is kept."""
        return len(self.kept(step - 1, step)) > 0

    def halvings(self, up_to: int, most: int) -> int:
        """The least power of two, n, for which `every_nth` of n gives at most `most` rows, the first one included."""
        n = 1
        while (self._place_beyond(up_to) - 1) // n >= most:
            n *= 2
        return n

    def _steps(self, places: IntArray) -> IntArray:
        """The steps of regular rows, given their places from the first row's, 0."""
        steps: IntArray = np.clip(places * self.stride - self.into, 0, self.total_steps)
        return steps

    def _place_beyond(self, step: int) -> int:
        """The place of the first regular row after a step; -1 is before all."""
        if step < 0:
            return 0
        return self.regular_rows if step >= self.total_steps else (step + self.into) // self.stride + 1

    def _kept_before(self, place: int) -> int:
        """How many are kept of the regular rows before a place."""
        return -(-place * (self.limit - 1) // (self.regular_rows - 1))


def united(steps: IntArray, others: IntArray) -> IntArray:
    """Ascending steps, and ascending others, together."""
    if len(others) == 0 or len(steps) == 0:
        return steps if len(others) == 0 else others
    # A stable sort takes both as the runs they are, which is ten times as quick as `numpy.union1d`.
    both = np.sort(np.concatenate([steps, others]), kind="stable")
    together: IntArray = both[np.append(True, both[1:] != both[:-1])]
    return together


def recorded_steps(recording: Recording, total_steps: int, steps_per_epoch: int, into_epoch: int = 0) -> RecordedSteps:
    """The steps to record of a descent that begins after `into_epoch` steps of an epoch."""
    if recording.every == "step":
        return RecordedSteps(1, 0, total_steps, recording.limit)
    if recording.every == "epoch":
        return RecordedSteps(steps_per_epoch, into_epoch, total_steps, recording.limit)
    return RecordedSteps(recording.every, 0, total_steps, recording.limit)
