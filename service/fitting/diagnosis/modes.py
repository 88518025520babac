"""Sums of powers: how gaps go down where every step is linear, and from when on they stay small.

A part of a gap is L + sum_j C_j exp(l_j t) at time t, exp(l_j) being what mode j is multiplied by in one unit of it;
complex where momentum makes it swing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.fitting.arrays import BoolArray, FloatArray, IntArray

ComplexArray = NDArray[np.complex128]

#: Beyond it nobody counts: float64 has no integers of its own there.
LAST = 2.0**53
#: Times that are looked at at once, the last ones first.
_PROBES = 32
#: The log of a mode that is gone at once.
_GONE = -1e4


def logs_of(losses: ComplexArray) -> ComplexArray:
    """log(1 - s) of what modes lose in a unit of time, which keeps the digits of a small s.

    NumPy's own complex log1p does not.
    """
    left = 1.0 - losses
    near = 0.5 * np.log1p(np.square(losses.real) + np.square(losses.imag) - 2.0 * losses.real)
    sizes = np.where(np.abs(losses) < 0.5, near, np.log(np.abs(left)))
    logs: ComplexArray = np.maximum(sizes, _GONE) + 1j * np.angle(left)
    return logs


@dataclass(frozen=True, eq=False)
class Modes:
    """g parts of q gaps each, or many such families on leading axes, which broadcast.

    Attributes
    ----------
    limits
        (.., g, q) L; a mode that stays for ever is in here.
    coefficients
        (.., g, q, j) C.
    logs
        (.., g, j) l, or (.., 1, j) where all parts have the same.
    """

    limits: FloatArray
    coefficients: ComplexArray
    logs: ComplexArray

    @property
    def are_decaying(self) -> BoolArray:
        """(..) whether everything but the limits goes to 0."""
        still = (self.logs.real[..., None, :] < 0.0) | (self.coefficients == 0.0)
        decaying: BoolArray = still.all(axis=(-3, -2, -1))
        return decaying

    @property
    def are_falling(self) -> bool:
        """Whether all gaps are their own bounds: nothing swings, and parts of one mode each go to 0."""
        return self.logs.shape[-1] == 1 and not (self.logs.imag.any() or self.limits.any())

    def at(self, times: FloatArray) -> FloatArray:
        """(.., g, q, r) at times (.., r)."""
        powers = np.exp(self.logs[..., None] * times[..., None, None, :])
        parts: FloatArray = self.limits[..., None] + (self.coefficients @ powers).real
        return parts

    def gaps(self, times: FloatArray) -> FloatArray:
        """(.., r) the length of all parts together."""
        gaps: FloatArray = np.sqrt(np.square(self.at(times)).sum(axis=(-3, -2)))
        return gaps

    def bounds(self, times: FloatArray) -> FloatArray:
        """(.., r) what no gap from times (.., r) on is above, where all modes decay: never more for a later one."""
        powers = np.exp(self.logs.real[..., None] * times[..., None, None, :])
        parts = np.abs(self.limits)[..., None] + np.abs(self.coefficients) @ powers
        bounds: FloatArray = np.sqrt(np.square(parts).sum(axis=(-3, -2)))
        return bounds

    def beyond(self, levels: FloatArray) -> FloatArray:
        """(..) a time from which on no gap is above its level, where all modes decay; infinite where there is none."""
        lasting = np.sqrt(np.square(self.limits).sum(axis=(-2, -1)))
        passing = np.sqrt(np.square(np.abs(self.coefficients).sum(axis=-1)).sum(axis=(-2, -1)))
        room, slowest = levels - lasting, self.logs.real.max(axis=(-2, -1))
        times = np.log(room / passing) / slowest
        return np.where(passing <= room, 0.0, np.where(room > 0.0, np.ceil(times) + 1.0, np.inf))

    def take(self, places: IntArray) -> "Modes":
        """Families at some places of the leading axis."""
        return Modes(self.limits[places], self.coefficients[places], self.logs[places])

    def through(self, matrix: FloatArray, factors: FloatArray, shift: FloatArray) -> "Modes":
        """Of (.., g, q) parts Y: shift + matrix Y diag(factors), (f, g), (q,) and (f, q)."""
        *families, g, q, j = self.coefficients.shape
        spread = np.einsum("fg,q,...gqj->...fqgj", matrix, factors, self.coefficients)
        logs = np.broadcast_to(self.logs, (*families, g, j)).reshape(*families, 1, g * j)
        return Modes(shift + matrix @ self.limits * factors, spread.reshape(*families, len(matrix), q, g * j), logs)


def last_above(modes: Modes, levels: FloatArray) -> FloatArray:
    """(s,) the last time, a whole number, at which gap s is above its level.

    -1 where it is at none, NaN where there is always another one. Exact where a gap only falls. Of one that swings or
    turns round the last 32 times are looked at at which its bound is above the level, and ever fewer of those
    before: a gap that is above the level for a moment, long before, may be missed.

    Parameters
    ----------
    modes
        (s, ..) families.
    levels
        (s,).
    """
    ends = np.where(modes.are_decaying, modes.beyond(levels), np.inf)
    found = _last_true(lambda times: modes.bounds(times) > levels[:, None], np.where(ends < LAST, ends, 0.0))
    if not modes.are_falling:
        found = _looked_back(lambda which, times: modes.take(which).gaps(times) > levels[which, None], found)
    return np.where(ends < LAST, found, np.nan)


def _last_true(holds: Callable[[FloatArray], BoolArray], ends: FloatArray) -> FloatArray:
    """(s,) the last time for which it holds, which it does up to there and no more at the ends; -1 where for none.

    `holds` is of times (s, r). First it is looked for near the ends, where it mostly is, in strides twice as long each
    time; then between two of these.
    """
    strides = np.exp2(np.arange(-1, int(ends.max(initial=0.0)).bit_length() + 1))
    strides[0] = 0.0
    low, high = _about_last(holds, np.maximum(ends[:, None] - strides, -1.0)[:, ::-1])
    shares = np.arange(_PROBES + 2) / (_PROBES + 1)
    while (high - low > 1.0).any():
        low, high = _about_last(holds, np.rint(low[:, None] + (high - low)[:, None] * shares))
    return low


def _about_last(holds: Callable[[FloatArray], BoolArray], times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(s,) each: of ascending times (s, r) the last for which it holds, as it does below 0, and the next one."""
    inner, rows = times[:, 1:-1], np.arange(len(times))
    last = (holds(np.maximum(inner, 0.0)) | (inner < 0.0)).sum(axis=1)
    return times[rows, last], times[rows, last + 1]


def _looked_back(above: Callable[[IntArray, FloatArray], BoolArray], top: FloatArray) -> FloatArray:
    """(s,) the last time up to `top` at which a gap is found above; -1 where none is."""
    found, strides, reach = np.full(len(top), -1.0), np.ones(len(top)), top.copy()
    pending, stride = np.flatnonzero(top >= 0.0), 1.0
    while len(pending):
        hit, times = _latest(above, pending, reach[pending], np.full(len(pending), stride))
        found[pending[hit]], strides[pending[hit]] = times[hit], stride
        reach[pending] -= stride * _PROBES
        # One more look where 0 was not among these.
        pending = pending[~hit & (reach[pending] > -stride)]
        reach[pending], stride = np.maximum(reach[pending], 0.0), 2.0 * stride
    return _refined(above, found, strides)


def _refined(above: Callable[[IntArray, FloatArray], BoolArray], found: FloatArray, strides: FloatArray) -> FloatArray:
    """The last time within a stride after each that was found."""
    pending = np.flatnonzero(strides > 1.0)
    while len(pending):
        beyond = found[pending] + strides[pending]
        strides[pending] = np.maximum(strides[pending] / _PROBES, 1.0)
        hit, times = _latest(above, pending, beyond - strides[pending], strides[pending])
        found[pending[hit]] = times[hit]
        pending = pending[strides[pending] > 1.0]
    return found


def _latest(
    above: Callable[[IntArray, FloatArray], BoolArray], which: IntArray, last: FloatArray, strides: FloatArray
) -> tuple[BoolArray, FloatArray]:
    """Whether any of the probed times from `last` back is above, and the latest one that is."""
    times = np.maximum(last[:, None] - strides[:, None] * np.arange(_PROBES), 0.0)
    true = above(which, times)
    hit: BoolArray = np.asarray(true.any(axis=1))
    return hit, times[np.arange(len(which)), true.argmax(axis=1)]
