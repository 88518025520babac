"""The expected course of a descent by shuffled batches, and how far chance takes a run from it.

Every epoch draws batches without replacement: their noises sum up to nothing over an epoch, and only what the steps
between them make of that is left. To first order in the rate a batch's noise is that of its gradient at the expected
parameters and of all those that chance may have led to. Its covariance is carried from step to step, and over many
epochs at once where they are alike (Mandt, Hoffman and Blei 2017, "Stochastic gradient descent as approximate Bayesian
inference", section 3, for batches drawn with replacement).

What each direction of the Hessian does is taken apart into modes, which a step multiplies by one number each: one, or
two with momentum. Arrays are of one target; g directions, M modes of all of them, direction after direction.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.fitting.arrays import FloatArray
from service.fitting.descent.plan import BatchPlan
from service.fitting.loss import Loss

#: Of modes: real where nothing swings, as they are quicker.
ModeArray = NDArray[np.floating[Any]] | NDArray[np.complexfloating[Any, Any]]

#: Times are counted in ratios of that: nothing changes much in between.
_RATIO = 1.25
#: Parts of an epoch that stands for others.
_PARTS = 4
#: The log of a half.
_QUICK = -np.log(2.0)


@dataclass(frozen=True)
class Rhythm:
    """The batches of an epoch: `whole` full ones, and a short last one where `has_short`.

    Attributes
    ----------
    sums, short_sum
        What a batch makes of its rows' mean: 1, or its rows where the loss is a sum.
    noise, short_noise
        What the covariance of all rows is multiplied by to be that of a batch, but for what is drawn without
        replacement.
    bridge
        The same for what all batches of an epoch have in common, which is taken away.
    """

    per_epoch: int
    whole: int
    has_short: bool
    sums: float
    short_sum: float
    noise: float
    short_noise: float
    bridge: float

    @classmethod
    def of(cls, plan: BatchPlan, loss: Loss) -> "Rhythm":
        n, size = plan.rows, plan.batch_size
        whole = min(n // size, plan.steps_per_epoch)
        short = n - whole * size
        sums, short_sum = (1.0, 1.0) if loss == "mse" else (float(size), float(short))
        return cls(
            per_epoch=plan.steps_per_epoch,
            whole=whole,
            has_short=whole < plan.steps_per_epoch,
            sums=sums,
            short_sum=short_sum,
            noise=sums**2 * n / size / (n - 1),
            short_noise=short_sum**2 * n / max(short, 1) / (n - 1),
            bridge=1.0 / (n - 1),
        )

    def lengths(self) -> list[int]:
        """Batches of an epoch, in parts in which expected gaps hardly change."""
        bounds = np.unique(np.linspace(0, self.whole, _PARTS + 1).astype(np.int64))
        return [*np.diff(bounds).tolist(), *([1] if self.has_short else [])]

    @property
    def mean_sum(self) -> float:
        """Of the batches of an epoch."""
        return (self.whole * self.sums + self.has_short * self.short_sum) / self.per_epoch


@dataclass(frozen=True)
class Move:
    """So many batches of one epoch, or so many whole epochs, at once."""

    batches: int = 0
    epochs: int = 0


def moves(rhythm: Rhythm, place: int, done: int, until: int) -> Iterator[Move]:
    """From after `done` steps, `place` batches into an epoch, up to exactly `until`; ever longer ones."""
    while done < until:
        far = min(max(int((_RATIO - 1.0) * done), 1), until - done)
        if place == 0 and far >= rhythm.per_epoch:
            move = Move(epochs=far // rhythm.per_epoch)
            done += move.epochs * rhythm.per_epoch
        else:
            left = rhythm.whole - place if place < rhythm.whole else 1
            move = Move(batches=min(far, left, max(rhythm.whole // _PARTS, 1)))
            done, place = done + move.batches, (place + move.batches) % rhythm.per_epoch
        yield move


def powers(logs: ModeArray, count: float) -> ModeArray:
    """exp(count l)."""
    raised: ModeArray = np.exp(count * logs)
    return raised


def summed(logs: ModeArray, count: float) -> ModeArray:
    """1 + exp(l) + .. + exp((count - 1) l)."""
    return np.where(logs == 0.0, count, np.expm1(count * logs) / np.expm1(logs))


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows (s, g) along the directions, residuals (s,) and weights (s,); see `RowSample`.

    What it says of each row is times the root of the row's weight, so that covariances are plain products.
    """

    rows: FloatArray
    residuals: FloatArray
    weights: FloatArray

    def pushes(self, gap: FloatArray) -> FloatArray:
        """(s, g) each row's part of the gradient at a gap (g,), about the mean."""
        pushes: FloatArray = self._rooted * (self.rows @ gap - self.residuals)[:, None]
        return pushes - self._roots[:, None] * (self._roots @ pushes)

    def spread(self, covariance: FloatArray) -> FloatArray:
        """(g, g) what the covariance of parameters (g, g) adds to that of the rows' gradients."""
        squares = np.einsum("sg,sg->s", self.rows @ covariance, self.rows)
        added: FloatArray = (self._rooted * squares[:, None]).T @ self._rooted
        return added - self._hessian @ covariance @ self._hessian

    @cached_property
    def _roots(self) -> FloatArray:
        return np.sqrt(self.weights)

    @cached_property
    def _rooted(self) -> FloatArray:
        return self.rows * self._roots[:, None]

    @cached_property
    def _hessian(self) -> FloatArray:
        hessian: FloatArray = self._rooted.T @ self._rooted
        return hessian


@dataclass(frozen=True, eq=False)
class Response:
    """How modes answer: logs (M,) of what a step multiplies them by, and `kicks` (M,) what a unit of gradient adds."""

    logs: ModeArray
    kicks: ModeArray
    directions: int

    def of_modes(self, matrix: FloatArray) -> ModeArray:
        """(M, M) of numbers of directions (g, g), times the kicks."""
        repeated = np.repeat(np.repeat(matrix, self.each, axis=0), self.each, axis=1)
        return repeated * (self.kicks[:, None] * self.kicks.conj())

    def kicked(self, pushes: FloatArray) -> ModeArray:
        """(s, M) of numbers of directions (s, g)."""
        return np.repeat(pushes, self.each, axis=1) * self.kicks

    def parameters(self, modes: ModeArray) -> FloatArray:
        """(g,) of modes (M,)."""
        return np.asarray(modes.reshape(self.directions, self.each).sum(axis=1).real)

    def covariance(self, modes: ModeArray) -> FloatArray:
        """(g, g) of that of modes (M, M)."""
        g, each = self.directions, self.each
        return np.asarray(modes.reshape(g, each, g, each).sum(axis=(1, 3)).real)

    @property
    def decays(self) -> FloatArray:
        """(g,) the log of what a step leaves of each direction, of its slow mode; of quick ones a half."""
        decays: FloatArray = self.logs.real.reshape(self.directions, self.each).max(axis=1, initial=_QUICK)
        return decays

    @property
    def each(self) -> int:
        """Modes of a direction."""
        return len(self.logs) // max(self.directions, 1)

    @property
    def pairs(self) -> ModeArray:
        """(M, M) logs of what a step multiplies covariances by."""
        pairs: ModeArray = self.logs[:, None] + self.logs.conj()
        return pairs

    def of_epoch(self, rhythm: Rhythm) -> ModeArray:
        """(M, M) the covariance that an epoch adds, for a unit of that of the rows, all kicks 1."""
        after = float(rhythm.has_short)
        together = rhythm.sums * summed(self.logs, rhythm.whole) * powers(self.logs, after)
        together = together + after * rhythm.short_sum
        alone = rhythm.noise * summed(self.pairs, rhythm.whole) * powers(self.pairs, after)
        alone = alone + after * rhythm.short_noise
        added: ModeArray = alone - rhythm.bridge * together[:, None] * together.conj()
        return added


@dataclass(frozen=True, eq=False)
class Standing:
    """Where a run is expected to be within an epoch.

    Attributes
    ----------
    modes
        (M,) of the expected gap, about where it leads.
    before
        (M, M) the covariance, if this epoch's batches were drawn by themselves.
    drawn
        (s, M) what each row would have made of the parameters, had it been in all batches of the epoch so far; 0 before
        the first of them.
    place
        Batches of the epoch so far.
    bridge
        See `Rhythm`.
    """

    modes: ModeArray
    before: ModeArray
    drawn: ModeArray
    place: int
    bridge: float

    @cached_property
    def covariance(self) -> ModeArray:
        """(M, M)."""
        if self.place == 0:
            return self.before
        covariance: ModeArray = self.before - self.bridge * (self.drawn.T @ self.drawn.conj())
        return covariance


class ShuffledCourse:
    """Of one target: where it is expected to be, and the covariance about that.

    Parameters
    ----------
    leads
        (g,) where it is expected to lead.
    start
        (M,) modes of the parameters at the start, about that.
    place
        Batches of the first epoch that were met before.
    """

    def __init__(
        self, rhythm: Rhythm, sample: Sample, response: Response, leads: FloatArray, start: ModeArray, place: int
    ) -> None:
        self._rhythm, self._sample, self._response = rhythm, sample, response
        self._leads = leads
        self._now = self._fresh(start, place)
        self._of_epoch = response.of_epoch(rhythm)

    def _fresh(self, modes: ModeArray, place: int = 0) -> Standing:
        kind: Any = modes.dtype
        before, drawn = (np.zeros((size, len(modes)), kind) for size in (len(modes), len(self._sample.rows)))
        return Standing(modes, before, drawn, place, self._rhythm.bridge)

    @property
    def gap(self) -> FloatArray:
        """(g,) the expected gap."""
        return self._gap(self._now.modes)

    @property
    def covariance(self) -> FloatArray:
        """(g, g)."""
        return self._response.covariance(self._now.covariance)

    def go(self, move: Move) -> None:
        """Go on."""
        spread = self._sample.spread(self.covariance)
        if move.epochs:
            self._now = self._epochs_later(spread, move.epochs)
        else:
            self._now = self._batches_later(self._now, spread, move.batches)

    def _batches_later(self, now: Standing, spread: FloatArray, count: int) -> Standing:
        """After so many batches of one length, in each of which parameters of some `Sample.spread` (g, g) add noise."""
        rhythm, response = self._rhythm, self._response
        is_short = now.place == rhythm.whole
        noise, sums = (rhythm.short_noise, rhythm.short_sum) if is_short else (rhythm.noise, rhythm.sums)
        pushes = self._sample.pushes(self._gap(powers(response.logs, count // 2) * now.modes))
        rows = pushes.T @ pushes + spread
        added = noise * response.of_modes(rows) * summed(response.pairs, count)
        later = replace(
            now,
            modes=powers(response.logs, count) * now.modes,
            before=powers(response.pairs, count) * now.before + added,
            drawn=powers(response.logs, count) * now.drawn
            + sums * summed(response.logs, count) * response.kicked(pushes),
            place=now.place + count,
        )
        if later.place < rhythm.per_epoch:
            return later
        return replace(self._fresh(later.modes), before=later.covariance)

    def _epochs_later(self, spread: FloatArray, count: int) -> Standing:
        """After so many whole epochs, in which noise is as in the one in the middle."""
        rhythm, response, now = self._rhythm, self._response, self._now
        epoch = self._fresh(powers(response.logs, count // 2 * rhythm.per_epoch) * now.modes)
        none = np.zeros_like(spread)
        for length in rhythm.lengths():
            epoch = self._batches_later(epoch, none, length)
        added = epoch.before + response.of_modes(spread) * self._of_epoch
        pairs = rhythm.per_epoch * response.pairs
        return replace(
            now,
            modes=powers(response.logs, count * rhythm.per_epoch) * now.modes,
            before=powers(pairs, count) * now.before + added * summed(pairs, count),
        )

    def _gap(self, modes: ModeArray) -> FloatArray:
        return self._leads + self._response.parameters(modes)

    def floor(self, orders: int) -> FloatArray:
        """(g, g) the covariance in the end; what it adds to itself is counted so many times."""
        pushes = self._sample.pushes(self._leads)
        total = added = self._held(pushes.T @ pushes)
        for _ in range(orders):
            added = self._held(self._sample.spread(added))
            total = total + added
        return total

    def growth(self, orders: int) -> float:
        """How many times its own a covariance that stays adds to itself: from 1 on there is no floor."""
        return growth_of(lambda spread: self._held(self._sample.spread(spread)), len(self._leads), orders)

    def _held(self, rows: FloatArray) -> FloatArray:
        """(g, g) the covariance that stays where that of the rows' gradients does."""
        response = self._response
        lost = -np.expm1(self._rhythm.per_epoch * response.pairs)
        return response.covariance(response.of_modes(rows) * self._of_epoch / lost)


def growth_of(once: Callable[[FloatArray], FloatArray], directions: int, orders: int) -> float:
    """What a linear map of covariances (g, g) multiplies them by in the end, by applying it so many times."""
    spread, growth = np.eye(directions), 0.0
    for _ in range(orders):
        added = once(spread / np.trace(spread))
        growth, spread = float(np.trace(added)), added
    return growth
