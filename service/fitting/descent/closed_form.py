"""Steps that are not taken: the state after any number of them, where every step is an affine map.

For `Sgd` at a constant rate, batches in a fixed order, an epoch is the affine map z -> M z + v of `batch_maps`, one
after the other. The state at the start of epoch k comes by the powers of that map which k is made of in binary, and
what a recorded step says by walking its epoch's batches from there, all epochs at once. Every number depends on the
origin and on its own step alone, never on how many others are asked for or where blocks begin.

Plain NumPy: the process that serves HTTP can do this too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray, IntArray, WorkingArray
from service.fitting.descent.affine_maps import Powers, apply, in_turn
from service.fitting.descent.batch_maps import BatchStatistics, about, batch_maps
from service.fitting.descent.engine import Arena, Block, Rows, State
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.rules import Rule
from service.fitting.reference.double_double import Pair, two_sum

#: Numbers of all states that are worked on at once.
_PASS_NUMBERS = 1 << 20
#: Steps that are looked at at once where one among very many is sought.
_PROBES = 64


def is_affine(rule: Rule) -> bool:
    """Whether steps by this rule are affine maps, the same in every epoch."""
    return (
        isinstance(rule.optimizer, Sgd)
        and rule.is_constant
        and rule.clipping.kind == "none"
        and rule.averaging is None
        and rule.dtype == np.float64
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """Of r steps: z (k, q, r) after them, W about the centre, and the squares (2, q, r) as in `State`."""

    z: FloatArray
    batch_squares: FloatArray
    epoch_squares: FloatArray

    @property
    def finite(self) -> BoolArray:
        """(r,)."""
        numbers = np.concatenate([self.z, self.batch_squares])
        finite: BoolArray = np.isfinite(numbers).all(axis=(0, 1))
        return finite


class ClosedFormEngine:
    """See the module's first lines. For arenas whose rule `is_affine`."""

    name = "numpy_closed_form"

    # What leaves float64 is data here, as in every engine.
    @np.errstate(all="ignore")
    def __init__(self, arena: Arena) -> None:
        sgd, origin, plan = arena.rule.optimizer, arena.origin, arena.plan
        assert isinstance(sgd, Sgd)
        self._arena = arena
        key = ("closed form", plan.batch_size, plan.steps_per_epoch)
        self._statistics = arena.kept.once(key, lambda: BatchStatistics.of(arena))
        #: States are counted from the start or from the optimum, number by number from what is nearer to 0: so they
        #: are as exact as the parameters can be, be it the start or the optimum that is far away.
        start = origin.parameters.astype(np.float64, copy=False)
        self._centre = np.where(np.abs(start) < np.abs(arena.optimum), start, arena.optimum)
        offset = Pair(*two_sum(self._centre, -arena.optimum))
        maps = about(batch_maps(arena, sgd, arena.rule.first_rate, self._statistics), offset)
        self._maps, self._offset = maps.rounded, offset.high
        self._powers = Powers(in_turn(maps))
        velocity = origin.slots[0].astype(np.float64, copy=False)
        parts = [start - self._centre, velocity] if sgd.momentum else [start - self._centre]
        self._origin = np.concatenate(parts)[..., None]
        #: Batches of the origin's epoch that were met before it, and the state where whole epochs begin to count.
        self._into_epoch = (plan.begun - origin.since) % plan.steps_per_epoch
        self._first = self._origin
        for batch in range(self._into_epoch, plan.steps_per_epoch if self._into_epoch else 0):
            self._first = apply(self._maps[batch], self._first)

    @property
    def is_in_range(self) -> bool:
        """Whether no product of the data has left float64: else steps have to go by the rows."""
        return self._statistics.are_in_range

    @property
    def longest_block(self) -> int:
        """All steps: they cost nothing but where they are recorded."""
        return self._arena.plan.total_steps

    @np.errstate(all="ignore")
    def advance(self, state: State, count: int, orders: IntArray | None, recorded: IntArray) -> Block:  # noqa: ARG002
        """See `Engine.advance`."""
        last = state.step + count
        steps = recorded if len(recorded) and recorded[-1] == last else np.append(recorded, last)
        seen = self._see(state, steps)
        finite = bool(seen.finite[-1])
        if not finite:
            last = self._last_finite(state, last)
            if last == state.step:
                return Block(state, self._rows(steps[:0], seen), finite=False)
            recorded = recorded[recorded <= last]
            steps = recorded if len(recorded) and recorded[-1] == last else np.append(recorded, last)
            seen = self._see(state, steps)
        return Block(self._state(state, last, seen), self._rows(recorded, seen), finite)

    @np.errstate(all="ignore")
    def least(self, state: State, steps: range, loss: Callable[[WorkingArray], FloatArray]) -> int:
        """Which of the steps after `state`, all of them finite, has the least `loss` (r,) of parameters (r, m, q).

        Sought where the least of evenly spaced ones is, and again between its neighbours. That finds the least of all
        where the loss is a convex function of the step, as it is for plain steps by all rows and without decay: a sum
        of decaying and growing exponentials. Elsewhere it finds one that is the least of those around it.
        """
        low, high = 0, len(steps) - 1
        while True:
            places = np.unique(low + (high - low) * np.arange(_PROBES + 1) // _PROBES)
            chosen = steps.start + steps.step * places
            losses = loss(self._rows(chosen, self._see(state, chosen)).parameters)
            best = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
            if high - low <= _PROBES:
                return int(chosen[best])
            low, high = int(places[max(best - 1, 0)]), int(places[min(best + 1, len(places) - 1)])

    def _last_finite(self, state: State, beyond: int) -> int:
        """The last step that is finite, there being none at and after `beyond`."""
        low, high = state.step, beyond
        while high - low > 1:
            probes = np.unique(low + (high - low) * np.arange(1, _PROBES) // _PROBES)
            probes = probes[probes > low]
            finite = self._see(state, probes).finite
            good = len(probes) if finite.all() else int(finite.argmin())
            low, high = (int(probes[good - 1]) if good else low), (int(probes[good]) if good < len(probes) else high)
        return low

    def _see(self, state: State, steps: IntArray) -> _Seen:
        """Of steps after `state`, ascending; some at a time."""
        size = max(_PASS_NUMBERS // self._origin.size, 1)
        parts = [self._walk(state, steps[first : first + size]) for first in range(0, len(steps), size)]
        z, batch_squares, epoch_squares = (
            np.concatenate([getattr(part, name) for part in parts], axis=-1)
            for name in ("z", "batch_squares", "epoch_squares")
        )
        return _Seen(z, batch_squares, epoch_squares)

    def _walk(self, state: State, steps: IntArray) -> _Seen:
        """Go through the batches of all epochs that the steps fall in, side by side."""
        arena, per_epoch = self._arena, self._arena.plan.steps_per_epoch
        epoch, batch = np.divmod(self._into_epoch + arena.origin.since + steps - 1, per_epoch)
        epochs, column = np.unique(epoch, return_inverse=True)
        begun_epoch, begun = divmod(self._into_epoch + arena.origin.since + state.step, per_epoch)
        z = self._at_starts(epochs)
        epoch_squares = np.zeros((2, z.shape[1], len(epochs)))
        k, q, r = len(z), z.shape[1], len(steps)
        seen = _Seen(np.empty((k, q, r)), np.empty((2, q, r)), np.empty((2, q, r)))
        for number in range(int(batch.max()) + 1):
            if number == self._into_epoch and epochs[0] == 0:
                z[..., :1] = self._origin
            if number == begun and epochs[0] == begun_epoch:
                epoch_squares[..., 0] = state.epoch_squares if begun else 0.0
            squares = self._squares(number, z)
            epoch_squares = epoch_squares + squares
            z = apply(self._maps[number], z)
            here = np.flatnonzero(batch == number)
            if len(here) == len(steps):
                return _Seen(z, squares, epoch_squares)
            for kept, values in ((seen.z, z), (seen.batch_squares, squares), (seen.epoch_squares, epoch_squares)):
                kept[..., here] = values[..., column[here]]
        return seen

    def _at_starts(self, epochs: IntArray) -> FloatArray:
        """z (k, q, e) at the start of each epoch; not of the origin's own where that began before it."""
        whole = np.maximum(epochs - (self._into_epoch > 0), 0)
        z = np.repeat(self._first, len(epochs), axis=-1)
        for exponent in range(int(whole.max()).bit_length()):
            z = np.where((whole >> exponent) & 1, apply(self._powers[exponent], z), z)
        return z

    def _squares(self, batch: int, z: FloatArray) -> FloatArray:
        """(2, q, e) sums of squares in the batch at z, as in `State.batch_squares`."""
        arena, m = self._arena, len(self._arena.optimum)
        triangle = self._statistics.triangles[batch]
        images = apply(np.hstack([triangle[:, :m], -triangle[:, m:]]), z[:m] + self._offset[..., None])
        squares = np.zeros((2, *z.shape[1:]))
        for image in images:
            squares[0] += np.square(image)
        for penalty, centre, w in zip(arena.penalties, self._centre, z, strict=False):
            squares[1] += penalty * np.square(centre[:, None] + w)
        return squares

    def _rows(self, steps: IntArray, seen: _Seen) -> Rows:
        m, r = len(self._arena.optimum), len(steps)
        parameters = seen.z[:m, :, :r] + self._centre[..., None]
        columns = (parameters, seen.batch_squares[..., :r], seen.epoch_squares[..., :r])
        return Rows(steps, *(np.ascontiguousarray(np.moveaxis(column, -1, 0)) for column in columns))

    def _state(self, before: State, step: int, seen: _Seen) -> State:
        """The state after the last of the steps seen."""
        m, slots = len(self._arena.optimum), before.slots.copy()
        if len(seen.z) > m:
            slots[0] = seen.z[m:, :, -1]
        return replace(
            before,
            step=step,
            parameters=seen.z[:m, :, -1] + self._centre,
            slots=slots,
            batch_squares=seen.batch_squares[..., -1].copy(),
            epoch_squares=seen.epoch_squares[..., -1].copy(),
        )
