"""Descent by batches in a fixed order: an epoch is one affine map, its batches' maps one after the other.

A map z -> z - G z + v of z = (D, V), the gap and the velocity along the directions of a frame, is kept as [G -v]
(k, k + q), by what it takes away: so a small loss keeps its digits. Two in turn take away A + B - B A. In float64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.affine_maps import Powers, apply
from service.fitting.descent.batch_products import factors_of
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.decoupled import losses
from service.fitting.diagnosis.frame import Frame, Push
from service.fitting.diagnosis.modes import ComplexArray, Modes, logs_of
from service.fitting.reference.double_double import Pair, two_sum

#: The log of what is left of a gap below which it is rounding.
_UNTOLD = np.log(1e-10)
#: Numbers of z up to which an epoch's map is raised to powers in doubled precision.
_DOUBLED = 24


@dataclass(frozen=True, eq=False)
class BatchGradients:
    """The gradient of each batch, slopes D + shifts, penalty inside, in the order in which a descent meets them.

    Attributes
    ----------
    slopes, shifts
        (b, g, g) and (b, g, q), along the directions of a frame.
    """

    slopes: FloatArray
    shifts: FloatArray

    @classmethod
    def steep(cls, setting: Setting) -> "BatchGradients":
        """From an epoch's first batch on, along the spectrum's directions that the loss is not flat along."""
        plan = setting.plan
        key = ("batch gradients", plan.batch_size, plan.steps_per_epoch, setting.solver.dtype)
        return setting.kept.once(key, lambda: cls(*_along_steep(setting)))

    @classmethod
    def of(cls, setting: Setting, frame: Frame) -> "BatchGradients":
        """From the batch on that the descent's first step meets, along all directions: 0 along the flat ones."""
        steep, g, turn = cls.steep(setting), len(frame.eigenvalues), -setting.plan.into_epoch
        count, k, q = steep.shifts.shape
        slopes, shifts = np.zeros((count, g, g)), np.zeros((count, g, q))
        slopes[:, :k, :k], shifts[:, :k] = np.roll(steep.slopes, turn, axis=0), np.roll(steep.shifts, turn, axis=0)
        return cls(slopes, shifts)

    @property
    def mean_eigenvalues(self) -> FloatArray:
        """(g,) of the mean slope over an epoch, whose vectors the directions are but for what batches are made of."""
        mean: FloatArray = np.einsum("bgg->g", self.slopes) / len(self.slopes)
        return mean

    def maps(self, push: Push, optimum: FloatArray) -> FloatArray:
        """(b, k, k + q) what each batch's step does to z; see the module's first lines."""
        taken = push.rate * np.concatenate([self.slopes, self.shifts], axis=2)
        g = taken.shape[1]
        decayed = push.decay * np.hstack([np.eye(g), optimum])
        if push.momentum == 0.0:
            return taken + decayed
        maps = np.zeros((len(taken), 2 * g, g + taken.shape[2]))
        for rows, pushed in ((slice(g), push.ahead * taken + decayed), (slice(g, None), taken)):
            maps[:, rows, :g], maps[:, rows, 2 * g :] = pushed[..., :g], pushed[..., g:]
        maps[:, :g, g : 2 * g] = -push.carried * np.eye(g)
        maps[:, g:, g : 2 * g] = (1.0 - push.momentum) * np.eye(g)
        return maps


def _along_steep(setting: Setting) -> tuple[FloatArray, FloatArray]:
    plan, spectrum, optimum, penalties = setting.plan, setting.spectrum, setting.optimum.scaled, setting.arena.penalties
    m, q = optimum.shape
    steep = spectrum.vectors[:, ~spectrum.is_flat]
    factors = factors_of(plan, setting.problem.loss, q)
    sums = factors[:, None, None] * (steep.T @ setting.products[:, :m])
    held = 2.0 * steep.T * penalties
    return (sums[..., :m] + held) @ steep, held @ optimum - sums[..., m:]


def _after(second: FloatArray, first: FloatArray) -> FloatArray:
    """The map that is `first` and then `second`, (.., k, k + q)."""
    k = second.shape[-2]
    both: FloatArray = first + second - second[..., :k] @ first
    return both


def up_to_each(maps: FloatArray) -> FloatArray:
    """(b, k, k + q) the first maps as one: 1, 2, .. b of them."""
    if len(maps) == 1:
        return maps
    even = len(maps) // 2 * 2
    pairs = up_to_each(_after(maps[1:even:2], maps[0:even:2]))
    out = np.empty_like(maps)
    out[0], out[1::2] = maps[0], pairs
    out[2::2] = _after(maps[2::2], pairs[: len(maps[2::2])])
    return out


@dataclass(frozen=True, eq=False)
class EpochMap:
    """What an epoch does.

    Attributes
    ----------
    mean
        (g,) what a step by the mean of the batches multiplies the gap along each direction by.
    start
        (k, q) z before the first step.
    positions
        (b, k, k + q) what the first batches do: 1, 2, .. b of them.
    losses, vectors
        (k,) and (k, k) the eigenvalues of G of a whole epoch, and their vectors of length 1. A loss that is nothing but
        rounding is 0.
    """

    frame: Frame
    mean: FloatArray
    start: FloatArray
    positions: FloatArray
    losses: ComplexArray
    vectors: ComplexArray

    @classmethod
    def of(cls, gradients: BatchGradients, push: Push, frame: Frame) -> "EpochMap":
        positions = up_to_each(gradients.maps(push, frame.optimum))
        start = np.vstack([frame.gap, frame.velocity]) if push.momentum else frame.gap
        mean = np.exp(logs_of(losses(push, gradients.mean_eigenvalues)).real.max(axis=1))
        return cls(frame, mean, start, positions, *_eigenpairs(positions[-1]))

    @property
    def shape(self) -> tuple[int, int]:
        """See `Course`."""
        return len(self.positions), len(self.frame.gap)

    def modes(self, positions: IntArray, parts: IntArray) -> Modes:
        """See `Course`; what the first batches of an epoch take is taken from what it begins with."""
        k = len(self.start)
        limit, passing = self._led
        walks = self.positions[positions[:, None] - 1, parts] * (positions > 0)[:, None, None]
        return Modes(
            limit[parts] - walks[..., :k] @ limit - walks[..., k:],
            passing[parts] - np.tensordot(walks[..., :k], passing, 1),
            np.broadcast_to(self._logs, (len(positions), 1, k)),
        )

    def limit(self, position: int) -> FloatArray:
        """(g, q) where the gap leads, at a position of all epochs."""
        limit, parts = self._led[0], np.arange(len(self.frame.gap))
        if position == 0:
            return limit[parts]
        k, walk = len(self.start), self.positions[position - 1, parts]
        led: FloatArray = limit[parts] - walk[:, :k] @ limit - walk[:, k:]
        return led

    def gaps(self, epochs: FloatArray, parts: slice = slice(None)) -> FloatArray:
        """See `Course`."""
        limit, passing = self._led
        z = limit[..., None] + (passing @ np.exp(self._logs[:, None] * epochs)).real
        slopes, shifts = self._walks
        taken = (slopes[parts] @ z.reshape(len(z), -1)).reshape(*shifts[parts].shape, -1) + shifts[parts, ..., None]
        begun = z[: len(self.frame.gap)][parts, None]
        return np.concatenate([begun, begun - taken], axis=1)

    @cached_property
    def _led(self) -> tuple[FloatArray, ComplexArray]:
        """(k, q) where z leads, epoch by epoch, and (k, q, k) what each mode adds to it at the start."""
        k, stays = len(self.start), self.losses == 0.0
        sides = np.hstack([self.start, -self.positions[-1][:, k:]]).astype(np.complex128)
        start, pushed = np.split(_solved(self.vectors, sides), 2, axis=1)
        led = np.where(stays[:, None], start, pushed / np.where(stays, 1.0, self.losses)[:, None])
        return (self.vectors @ led).real, self.vectors[:, None] * (start - led).T

    @cached_property
    def _logs(self) -> ComplexArray:
        return logs_of(np.where(self.losses == 0.0, 1.0, self.losses))

    @cached_property
    def _walks(self) -> tuple[FloatArray, FloatArray]:
        """(g, b - 1, k) and (g, b - 1, q) what 1, 2, .. batches take from each part of the gap."""
        k = len(self.start)
        walks = self.positions[:-1, : len(self.frame.gap)].transpose(1, 0, 2)
        return np.ascontiguousarray(walks[..., :k]), np.ascontiguousarray(walks[..., k:])

    def after(self, steps: int) -> FloatArray:
        """(g, q) the gap after any number of steps."""
        epochs, rest = divmod(steps, len(self.positions))
        z = self.start
        for exponent in range(epochs.bit_length()):
            if epochs >> exponent & 1:
                z = apply(self._powers[exponent], z[..., None])[..., 0]
        if rest:
            z = z - self.positions[rest - 1] @ np.vstack([z, np.eye(z.shape[1])])
        return z[: len(self.frame.gap)]

    @cached_property
    def _powers(self) -> "Powers | _PlainPowers":
        """What 1, 2, 4, .. epochs do."""
        whole = self.positions[-1]
        if len(whole) > _DOUBLED:
            return _PlainPowers(whole)
        return Powers(Pair(*two_sum(np.eye(*whole.shape), -whole)))

    @property
    def is_stable(self) -> bool:
        """Whether all that changes from epoch to epoch goes to where it leads."""
        return bool((self._logs.real < 0.0).all())

    def error(self, steps: int) -> float:
        """About how large a share of the gap is wrong after so many steps."""
        epochs, lost = steps / len(self.positions), np.abs(self.losses[self.losses != 0.0])
        rounding = 4.0 * np.finfo(np.float64).eps * np.abs(self.positions[-1, :, : len(self.start)]).max(initial=0.0)
        return float(rounding * min(epochs, 1.0 / lost.min(initial=np.inf)))

    @cached_property
    def rates(self) -> FloatArray:
        """(g,) what a step multiplies the gap along each direction by, in the mean over an epoch.

        Each of the map's eigenvectors belongs to the direction that it has the largest part along, of those that are
        still short of one; where a direction has two, the slower counts. `mean` stands for what an epoch leaves nothing
        of that float64 could tell.
        """
        overlaps = np.abs(self.vectors[: len(self.frame.gap)])
        logs, each = logs_of(self.losses).real, len(self.losses) // len(overlaps)
        slowest, short = np.full(len(overlaps), -np.inf), np.full(len(overlaps), each)
        for direction, mode in zip(*np.unravel_index(np.argsort(-overlaps, axis=None), overlaps.shape), strict=True):
            if short[direction] and not np.isnan(logs[mode]):
                slowest[direction] = max(slowest[direction], logs[mode])
                short[direction], logs[mode] = short[direction] - 1, np.nan
        return np.where(slowest < _UNTOLD, self.mean, np.exp(slowest / len(self.positions)))


def growth(maps: FloatArray) -> float:
    """The log of what a step multiplies the slowest mode by, in the mean over an epoch of `maps`.

    Their matrices are multiplied as they are, kept near 1: what an epoch leaves of a gap may be too little for `losses`
    to tell, or too much for float64.
    """
    k = maps.shape[1]
    products, logs, count = np.eye(k) - maps[..., :k], np.zeros(len(maps)), len(maps)
    while True:
        sizes = np.abs(products).max(axis=(1, 2))
        products, logs = products / sizes[:, None, None], logs + np.log(sizes)
        if len(products) == 1:
            break
        even = len(products) // 2 * 2
        products = np.concatenate([products[1:even:2] @ products[0:even:2], products[even:]])
        logs = np.concatenate([logs[1:even:2] + logs[0:even:2], logs[even:]])
    if not np.isfinite(products).all():
        return np.nan
    return float(logs[0] + np.log(np.abs(np.linalg.eigvals(products[0])).max())) / count


def _eigenpairs(whole: FloatArray) -> tuple[ComplexArray, ComplexArray]:
    taken = whole[:, : len(whole)]
    if not np.isfinite(taken).all():
        return np.full(len(taken), np.nan + 0j), np.full(taken.shape, np.nan + 0j)
    losses, vectors = np.linalg.eig(taken)
    least = len(taken) * np.finfo(np.float64).eps * np.abs(taken).max(initial=0.0)
    return np.where(np.abs(losses) <= least, 0.0, losses) + 0j, vectors + 0j


def _solved(vectors: ComplexArray, sides: ComplexArray) -> ComplexArray:
    """vectors^-1 sides; where two of the vectors are one, what comes nearest."""
    try:
        return np.asarray(np.linalg.solve(vectors, sides), np.complex128)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(vectors, sides, rcond=None)[0], np.complex128)


class _PlainPowers:
    """Like `Powers`, in float64."""

    def __init__(self, taken: FloatArray) -> None:
        self._taken = [taken]

    def __getitem__(self, exponent: int) -> FloatArray:
        """The power 2^exponent."""
        while len(self._taken) <= exponent:
            self._taken.append(_after(self._taken[-1], self._taken[-1]))
        return np.eye(*self._taken[0].shape) - self._taken[exponent]
