"""From which step on a linear descent's gaps stay small.

A descent by b batches in turn is looked at before each of them, epoch by epoch: at b positions, each with modes of its
own that have epochs for their time. By all rows b is 1.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray, IntArray
from service.fitting.diagnosis.modes import Modes, last_above

#: Positions up to which each is followed.
_FEW = 8
#: How often another position may be followed.
_ROUNDS = 4
#: An epoch after which nothing moves that ever comes to rest.
_IN_THE_END = 1e300


class Course(Protocol):
    """The gap of a descent along g directions."""

    @property
    def shape(self) -> tuple[int, int]:
        """b and g."""

    def modes(self, positions: IntArray, parts: IntArray) -> Modes:
        """(s, f, q) some parts (s, f), each family at its own position (s,)."""

    def gaps(self, epochs: FloatArray, parts: slice = slice(None)) -> FloatArray:
        """(g, b, q, s) some parts at all positions of epochs (s,)."""


class View(Protocol):
    """s lengths made of a course's gap."""

    @property
    def course(self) -> Course:
        """Whose."""

    def modes(self, positions: IntArray) -> Modes:
        """(r, ..) families whose lengths they are at positions (r,): s for the s lengths, as often as there are."""

    def everywhere(self, epochs: FloatArray) -> FloatArray:
        """(s, b) each at all positions of its epoch (s,)."""


def first_within(view: View, levels: FloatArray) -> FloatArray:
    """(s,) the first step from which on each length stays at or below its level (s,); NaN where there is none.

    Of many positions the first is followed, then the one that is the highest just after, and so on.
    """
    batches, _ = view.course.shape
    followed = batches if batches <= _FEW else 1
    modes = view.modes(np.repeat(np.arange(followed), len(levels)))
    epochs: FloatArray = last_above(modes, np.tile(levels, followed)).reshape(followed, -1).max(axis=0)
    if batches == 1:
        return epochs + 1.0
    lasting = (view.everywhere(np.full(len(levels), _IN_THE_END)) > levels[:, None]).any(axis=1)
    epochs = np.where(lasting, np.nan, epochs)
    for _ in range(_ROUNDS):
        highest = view.everywhere(np.nan_to_num(epochs) + 1.0).argmax(axis=1)
        later = last_above(view.modes(highest), levels)
        if not (later > epochs).any():
            break
        epochs = np.where(later > epochs, later, epochs)
    above = view.everywhere(np.nan_to_num(np.maximum(epochs, 0.0))) > levels[:, None]
    steps: FloatArray = np.where(above.any(axis=1) & (epochs >= 0.0), epochs * batches + _last(above), epochs)
    return steps + 1.0


def _last(above: BoolArray) -> IntArray:
    """(s,) the last place of each row (s, b) that is true; the last of all where none is."""
    places: IntArray = above.shape[1] - 1 - above[:, ::-1].argmax(axis=1)
    return places


@dataclass(frozen=True, eq=False)
class Whole:
    """The length over all directions, as often as asked for."""

    course: Course

    def modes(self, positions: IntArray) -> Modes:
        return self.course.modes(positions, _all(self.course, positions))

    def everywhere(self, epochs: FloatArray) -> FloatArray:
        return _length(self.course.gaps(epochs))


@dataclass(frozen=True, eq=False)
class Mapped:
    """The length of shift + matrix Y diag(factors), Y (g, q) being the gap: in other units."""

    course: Course
    matrix: FloatArray
    factors: FloatArray
    shift: FloatArray

    def modes(self, positions: IntArray) -> Modes:
        modes = self.course.modes(positions, _all(self.course, positions))
        return modes.through(self.matrix, self.factors, self.shift)

    def everywhere(self, epochs: FloatArray) -> FloatArray:
        mapped = np.einsum("fg,q,gbqs->fbqs", self.matrix, self.factors, self.course.gaps(epochs))
        return _length(mapped + self.shift[:, None, :, None])


@dataclass(frozen=True, eq=False)
class Each:
    """The lengths along the first `count` directions, each `times` times one after the other."""

    course: Course
    count: int
    times: int

    def modes(self, positions: IntArray) -> Modes:
        parts = np.repeat(np.arange(self.count), self.times)
        return self.course.modes(positions, np.tile(parts, len(positions) // max(len(parts), 1))[:, None])

    def everywhere(self, epochs: FloatArray) -> FloatArray:
        rows = epochs.reshape(self.count, self.times)
        return np.concatenate([_length(self.course.gaps(row, slice(i, i + 1))) for i, row in enumerate(rows)])


def _all(course: Course, positions: IntArray) -> IntArray:
    """(s, g) every part, for each of the positions (s,)."""
    return np.tile(np.arange(course.shape[1]), (len(positions), 1))


def _length(parts: FloatArray) -> FloatArray:
    """(s, b) of parts (g, b, q, s)."""
    lengths: FloatArray = np.sqrt(np.square(parts).sum(axis=(0, 2))).T
    return lengths
