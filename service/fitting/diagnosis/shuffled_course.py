"""The expected course of a descent by shuffled batches, and how far chance takes a run from it.

Every epoch draws batches without replacement: their noises sum up to nothing over an epoch, and only what the steps
between them make of that is left. To first order in the rate a batch's noise is that of its gradient at the expected
parameters and of all those that chance may have led to. Its covariance is carried from step to step, and over many
epochs at once where they are alike (Mandt, Hoffman and Blei 2017, "Stochastic gradient descent as approximate Bayesian
inference", section 3, for batches drawn with replacement).

What each direction of the Hessian does is taken apart into modes, which a step multiplies by one number each: one, or
two with momentum. Arrays are of one target; g directions, M modes of all of them, direction after direction.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.plan import BatchPlan
from service.fitting.loss import Loss

#: Of modes: real where nothing swings, as they are quicker.
ModeArray = NDArray[np.floating[Any]] | NDArray[np.complexfloating[Any, Any]]

#: Times are counted in ratios of that: nothing changes much in between.
_RATIO = 1.25
#: Parts of an epoch that stands for others.
_PARTS = 4
#: Products of a row's numbers with each other up to which they are summed over the rows.
_MOST_PRODUCTS = 160
#: Numbers of all covariances that are worked on at once.
_MOST_NUMBERS = 1 << 17
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


def powers(logs: ModeArray, count: float | IntArray) -> ModeArray:
    """exp(count l)."""
    raised: ModeArray = np.exp(count * logs)
    return raised


def summed(logs: ModeArray, count: float | IntArray) -> ModeArray:
    """1 + exp(l) + .. + exp((count - 1) l)."""
    return np.where(logs == 0.0, count, np.expm1(count * logs) / np.expm1(logs))


class Noise(Protocol):
    """How the gradients of rows differ, each row's being a (a'D - r) at the gap D."""

    def at(self, gaps: FloatArray) -> FloatArray:
        """(.., g, g) the covariance of the rows' gradients at gaps (.., g)."""

    def spread(self, covariance: FloatArray) -> FloatArray:
        """(g, g) what a covariance (g, g) of the gap adds to it."""

    def along(self, sides: ModeArray, places: IntArray) -> ModeArray:
        """(.., M, M) the covariance of z'sides a over the rows, z being [a, -r], `sides` (.., g + 1, M).

        With z'sides[:, i] goes the part of a along the direction places[i].
        """


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows (s, g) along the directions, residuals (s,) and weights (s,); see `RowSample`.

    What it says of each row is times the root of the row's weight, so that covariances are plain products.
    """

    rows: FloatArray
    residuals: FloatArray
    weights: FloatArray

    @property
    def noise(self) -> Noise:
        """By what takes the least time."""
        g = self.rows.shape[1]
        return Moments.of(self) if g * (g + 1) <= _MOST_PRODUCTS else self

    def at(self, gaps: FloatArray) -> FloatArray:
        """See `Noise`."""
        pushes = self._centred(self._rooted * (gaps @ self.rows.T - self.residuals)[..., None])
        return np.asarray(pushes.swapaxes(-1, -2) @ pushes)

    def spread(self, covariance: FloatArray) -> FloatArray:
        """See `Noise`."""
        squares = np.einsum("sg,sg->s", self.rows @ covariance, self.rows)
        added: FloatArray = (self._rooted * squares[:, None]).T @ self._rooted
        return added - self._hessian @ covariance @ self._hessian

    def along(self, sides: ModeArray, places: IntArray) -> ModeArray:
        """See `Noise`."""
        pushes = self._centred(self._rooted[:, places] * (self._sides @ sides))
        return np.asarray(pushes.swapaxes(-1, -2) @ pushes.conj())

    def products(self) -> FloatArray:
        """(s, g (g + 1)) of the rows with their sides, about the mean."""
        products = self._rooted[:, :, None] * self._sides[:, None]
        return np.asarray(self._centred(products.reshape(len(self.rows), -1)))

    def _centred(self, pushes: Any) -> Any:
        """Numbers (.., s, k) of rows, about their mean."""
        return pushes - self._roots[:, None] * (self._roots @ pushes)[..., None, :]

    @cached_property
    def _sides(self) -> FloatArray:
        """(s, g + 1) [a, -r]."""
        return np.hstack([self.rows, -self.residuals[:, None]])

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
class Moments:
    """All that a sample says of few directions, summed over its rows once.

    Attributes
    ----------
    squares
        (g, g, g + 1, g + 1) the covariance of a_i z_k and a_j z_l, [i, j, k, l], z being [a, -r].
    """

    squares: FloatArray

    @classmethod
    def of(cls, sample: Sample) -> "Moments":
        g, products = sample.rows.shape[1], sample.products()
        return cls((products.T @ products).reshape(g, g + 1, g, g + 1).transpose(0, 2, 1, 3).copy())

    def at(self, gaps: FloatArray) -> FloatArray:
        """See `Noise`."""
        sides = _sides(gaps)
        pairs = (sides[..., :, None] * sides[..., None, :]).reshape(*gaps.shape[:-1], -1)
        return np.asarray((pairs @ self._by_sides).reshape(*gaps.shape, gaps.shape[-1]))

    def spread(self, covariance: FloatArray) -> FloatArray:
        """See `Noise`."""
        return np.asarray((self._by_gaps @ covariance.ravel()).reshape(covariance.shape))

    def growth(self, held: FloatArray, orders: int) -> float:
        """See `growth_of`: by the powers 1, 2, 4, .. of one step."""
        g = len(held)
        once = held.ravel()[:, None] * self._by_gaps
        size = np.abs(once).max()
        power, spread, left = once / size, np.eye(g).ravel(), orders - 1
        while left:
            if left & 1:
                spread = power @ spread
            power, left = power @ power, left >> 1
        return float((once @ spread)[:: g + 1].sum() / spread[:: g + 1].sum())

    def along(self, sides: ModeArray, places: IntArray) -> ModeArray:
        """See `Noise`."""
        squares = self.squares if len(places) == len(self.squares) else self.squares[places[:, None], places]
        return np.asarray(np.einsum("...km,mnkl,...ln->...mn", sides, squares, sides.conj()))

    @cached_property
    def _by_sides(self) -> FloatArray:
        """((g + 1)^2, g^2)."""
        g = len(self.squares)
        return self.squares.reshape(g * g, -1).T.copy()

    @cached_property
    def _by_gaps(self) -> FloatArray:
        """(g^2, g^2)."""
        g = len(self.squares)
        return self.squares[:, :, :g, :g].reshape(g * g, -1)


@dataclass(frozen=True, eq=False)
class Response:
    """How modes answer: logs (M,) of what a step multiplies them by, and `kicks` (M,) what a unit of gradient adds."""

    logs: ModeArray
    kicks: ModeArray
    directions: int

    def of_modes(self, matrix: FloatArray) -> FloatArray:
        """(.., M, M) of numbers of directions (.., g, g)."""
        return matrix if self.each == 1 else matrix[..., self.places[:, None], self.places]

    def parameters(self, modes: ModeArray) -> FloatArray:
        """(.., g) of modes (.., M)."""
        if self.each > 1:
            modes = modes.reshape(*modes.shape[:-1], self.directions, self.each).sum(axis=-1)
        return np.asarray(modes.real)

    def covariance(self, modes: ModeArray) -> FloatArray:
        """(g, g) of that of modes (M, M)."""
        g, each = self.directions, self.each
        return np.asarray((modes if each == 1 else modes.reshape(g, each, g, each).sum(axis=(1, 3))).real)

    @cached_property
    def places(self) -> IntArray:
        """(M,) which direction each mode belongs to."""
        return np.repeat(np.arange(self.directions), self.each)

    @cached_property
    def kick_pairs(self) -> ModeArray:
        """(M, M) what a unit of the covariance of gradients adds to that of modes."""
        pairs: ModeArray = self.kicks[:, None] * self.kicks.conj()
        return pairs

    @property
    def decays(self) -> FloatArray:
        """(g,) the log of what a step leaves of each direction, of its slow mode; of quick ones a half."""
        decays: FloatArray = self.logs.real.reshape(self.directions, self.each).max(axis=1, initial=_QUICK)
        return decays

    @cached_property
    def each(self) -> int:
        """Modes of a direction."""
        return len(self.logs) // max(self.directions, 1)

    @cached_property
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
class Stretch:
    """What some batches of one length do, one after the other, in which the gap hardly changes.

    Attributes
    ----------
    kept, kept_pairs
        (M,) and (M, M) what is left of modes, and of their covariance.
    middle
        (M,) what is left of modes in their middle.
    kicked
        (M,) what modes make of a unit of gradient in all of them.
    added
        (M, M) the covariance of modes for a unit of that of the rows' gradients, batches drawn by themselves.
    """

    kept: ModeArray
    kept_pairs: ModeArray
    middle: ModeArray
    kicked: ModeArray
    added: ModeArray

    @classmethod
    def of(cls, rhythm: Rhythm, response: Response, count: int, *, is_short: bool) -> "Stretch":
        noise, sums = (rhythm.short_noise, rhythm.short_sum) if is_short else (rhythm.noise, rhythm.sums)
        return cls(
            kept=powers(response.logs, count),
            kept_pairs=powers(response.pairs, count),
            middle=powers(response.logs, count // 2),
            kicked=sums * summed(response.logs, count) * response.kicks,
            added=noise * response.kick_pairs * summed(response.pairs, count),
        )


@dataclass(frozen=True, eq=False)
class Epoch:
    """What a whole epoch does, in p stretches; as they have come to be by its end.

    Attributes
    ----------
    middles
        (p, M) what is left of the epoch's first modes in the middle of each.
    kicked, added
        (p, M) and (p, M, M), see `Stretch`.
    """

    middles: ModeArray
    kicked: ModeArray
    added: ModeArray

    @classmethod
    def of(cls, rhythm: Rhythm, response: Response) -> "Epoch":
        middles, kicked, added, done = [], [], [], 0
        for count in rhythm.lengths():
            stretch = Stretch.of(rhythm, response, count, is_short=done == rhythm.whole)
            middles.append(powers(response.logs, done) * stretch.middle)
            done += count
            kicked.append(powers(response.logs, rhythm.per_epoch - done) * stretch.kicked)
            added.append(powers(response.pairs, rhythm.per_epoch - done) * stretch.added)
        return cls(np.array(middles), np.array(kicked), np.array(added))


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
        (g + 1, M) what a row z = [a, -r] would have made of the modes, but for its a, had it been in all batches of the
        epoch so far; None before the first of them.
    place
        Batches of the epoch so far.
    """

    modes: ModeArray
    before: ModeArray
    drawn: ModeArray | None
    place: int


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
        self, rhythm: Rhythm, noise: Noise, response: Response, leads: FloatArray, start: ModeArray, place: int
    ) -> None:
        self._rhythm, self._noise, self._response = rhythm, noise, response
        self._leads = leads
        self._now = Standing(start, 0.0 * start[:, None] * start, None, place)
        self._stretches: dict[tuple[int, bool], Stretch] = {}
        #: (g,) and (g, g) at the start and after each move: the expected gap, and the covariance about it.
        self.gaps = [self._gap(start)]
        self.covariances = [np.zeros((len(leads), len(leads)))]

    def go(self, moves: Iterable[Move]) -> None:
        """Go on."""
        most = max(_MOST_NUMBERS // max(self._now.before.size, 1), 1)
        for is_whole, alike in groupby(moves, lambda move: move.epochs > 0):
            while group := list(islice(alike, most)):
                if is_whole:
                    self._take_epochs([move.epochs for move in group])
                else:
                    self._take_batches([move.batches for move in group])

    def _take_batches(self, counts: list[int]) -> None:
        """One number of batches of one length after the other."""
        now, stretches, begun = self._now, list(self._stretches_of(counts)), self._begun(counts)
        gaps = self._gap(np.array([stretch.middle for stretch in stretches]) * begun[:-1])
        drawn, ends = self._drawn(stretches, gaps, counts)
        added = np.array([stretch.added for stretch in stretches])
        before = self._follow(
            kept=np.array([stretch.kept_pairs for stretch in stretches]),
            fixed=added * self._response.of_modes(self._noise.at(gaps)),
            gained=added,
            bridges=self._bridge(drawn),
            ends=ends,
        )
        place = (now.place + sum(counts)) % self._rhythm.per_epoch
        self._arrive(begun, Standing(begun[-1], before, None if ends[-1] else drawn[-1], place))

    def _stretches_of(self, counts: list[int]) -> Iterator[Stretch]:
        rhythm, place = self._rhythm, self._now.place
        for count in counts:
            key = count, place == rhythm.whole
            if key not in self._stretches:
                self._stretches[key] = Stretch.of(rhythm, self._response, count, is_short=place == rhythm.whole)
            yield self._stretches[key]
            place = (place + count) % rhythm.per_epoch

    def _drawn(self, stretches: list[Stretch], gaps: FloatArray, counts: list[int]) -> tuple[ModeArray, list[bool]]:
        """(t, g + 1, M) `Standing.drawn` after each stretch with its gap (t, g); and which of them end an epoch."""
        drawn, place, every, ends = self._now.drawn, self._now.place, [], []
        for stretch, side, count in zip(stretches, _sides(gaps)[..., None], counts, strict=True):
            new = side * stretch.kicked
            drawn = new if drawn is None else stretch.kept * drawn + new
            place = (place + count) % self._rhythm.per_epoch
            every.append(drawn)
            ends.append(place == 0)
            drawn = None if place == 0 else drawn
        return np.array(every), ends

    def _take_epochs(self, counts: list[int]) -> None:
        """One number of whole epochs after the other, in each of which noise is as in the one in the middle."""
        rhythm, response, epoch, now = self._rhythm, self._response, self._epoch, self._now
        begun = self._begun([count * rhythm.per_epoch for count in counts])
        many = np.array(counts)[:, None]
        modes = powers(response.logs, many // 2 * rhythm.per_epoch) * begun[:-1]
        gaps = self._gap(epoch.middles * modes[:, None])
        alone = (epoch.added * response.of_modes(self._noise.at(gaps))).sum(axis=1)
        added = alone - self._bridge(_sides(gaps).swapaxes(1, 2) @ epoch.kicked)
        pairs, times = rhythm.per_epoch * response.pairs, many[..., None]
        often = summed(pairs, times)
        before = self._follow(
            kept=powers(pairs, times),
            fixed=added * often,
            gained=self._of_epoch * often,
            bridges=np.zeros((len(counts), 1, 1)),
            ends=[True] * len(counts),
        )
        self._arrive(begun, Standing(begun[-1], before, None, now.place))

    def _begun(self, steps: list[int]) -> ModeArray:
        """(t + 1, M) the modes at the beginning of each of t moves of so many steps, and in the end."""
        done = np.append(0, np.cumsum(steps))
        begun: ModeArray = powers(self._response.logs, done[:, None]) * self._now.modes
        return begun

    def _follow(
        self, kept: ModeArray, fixed: ModeArray, gained: ModeArray, bridges: ModeArray, ends: list[bool]
    ) -> ModeArray:
        """Note the covariance after each of t moves; (M, M) what is `Standing.before` in the end.

        Parameters
        ----------
        kept, fixed, gained
            (t, M, M) what is left of the covariance, what is added to it, and how many times what it adds itself.
        bridges, ends
            (t, M, M) what is to be taken from it after each move; and whether it is then gone.
        """
        before, response, noise = self._now.before, self._response, self._noise
        for left, added, times, bridge, is_end in zip(kept, fixed, gained, bridges, ends, strict=True):
            before = left * before + added + times * response.of_modes(noise.spread(self.covariances[-1]))
            whole = before - bridge
            self.covariances.append(response.covariance(whole))
            before = whole if is_end else before
        return before

    def _arrive(self, begun: ModeArray, now: Standing) -> None:
        self.gaps.extend(self._gap(begun[1:]))
        self._now = now

    def _bridge(self, drawn: ModeArray) -> ModeArray:
        """(t, M, M) what all batches of an epoch have in common, of (t, g + 1, M)."""
        return self._rhythm.bridge * self._noise.along(drawn, self._response.places)

    @cached_property
    def _epoch(self) -> Epoch:
        return Epoch.of(self._rhythm, self._response)

    @cached_property
    def _of_epoch(self) -> ModeArray:
        """(M, M) the covariance that an epoch adds, for a unit of that of the rows' gradients."""
        return self._response.of_epoch(self._rhythm) * self._response.kick_pairs

    def _gap(self, modes: ModeArray) -> FloatArray:
        return self._leads + self._response.parameters(modes)

    def floor(self, orders: int) -> FloatArray:
        """(g, g) the covariance in the end; what it adds to itself is counted so many times."""
        total = added = self._held * self._noise.at(self._leads)
        for _ in range(orders):
            added = self._held * self._noise.spread(added)
            total = total + added
        return total

    def growth(self, orders: int) -> float:
        """How many times its own a covariance that stays adds to itself: from 1 on there is no floor."""
        return growth_of(self._noise, self._held, orders)

    @cached_property
    def _held(self) -> FloatArray:
        """(g, g) the covariance that stays for a unit of that of the rows' gradients, where that stays."""
        lost = -np.expm1(self._rhythm.per_epoch * self._response.pairs)
        return self._response.covariance(self._of_epoch / lost)


def _sides(gaps: FloatArray) -> FloatArray:
    """(.., g + 1) what makes (a'D - r) of z = [a, -r], of gaps D (.., g)."""
    sides = np.ones((*gaps.shape[:-1], gaps.shape[-1] + 1))
    sides[..., :-1] = gaps
    return sides


def growth_of(noise: Noise, held: FloatArray, orders: int) -> float:
    """What a covariance adds to itself in the end, times itself, by counting so many times what it adds.

    Parameters
    ----------
    held
        (g, g) the covariance that stays for a unit of that of the rows' gradients.
    """
    if isinstance(noise, Moments):
        return noise.growth(held, orders)
    spread, growth = np.eye(len(held)), 0.0
    for _ in range(orders):
        added = held * noise.spread(spread / spread.trace())
        growth, spread = float(added.trace()), added
    return growth
