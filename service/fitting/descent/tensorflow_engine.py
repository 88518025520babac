"""Steps in one compiled TensorFlow loop: the gradient from `tf.GradientTape`, the update from the rule, records kept
inside.

A block of steps is one call of a ``tf.function(jit_compile=True)``, so Python and the device meet once a block.
Programs are kept by what they are compiled for; a second fit of the same shape in the same process compiles nothing.
Shapes are static under XLA: the last batch of an epoch is padded with rows of zeros, which add nothing, and rows are
recorded into a buffer whose last place takes the steps that nobody asked for.

All of it runs where TensorFlow puts it, on a GPU if there is one.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from service.fitting.arrays import IntArray
from service.fitting.descent import elementary, update_rules
from service.fitting.descent.engine import Arena, Block, Rows, State
from service.fitting.descent.quiet_tensorflow import tf
from service.fitting.descent.rules import ClippingKind
from service.fitting.descent.update_rules import RULES, SLOTS


@elementary.maximum.register(tf.Tensor)
def _maximum(x: Any, y: Any) -> Any:
    # XLA's own, on a CPU, lets a second argument go that is not a number.
    return tf.where(tf.math.is_nan(y), y, tf.maximum(x, y))


@elementary.minimum.register(tf.Tensor)
def _minimum(x: Any, y: Any) -> Any:
    return tf.where(tf.math.is_nan(y), y, tf.minimum(x, y))


elementary.sqrt.register(tf.Tensor, tf.sqrt)
elementary.power.register(tf.Tensor, tf.pow)
elementary.absolute.register(tf.Tensor, tf.abs)
elementary.sign.register(tf.Tensor, tf.sign)

# Products on a GPU are to be as exact as those of a CPU, and not of 10 bits.
tf.config.experimental.enable_tensor_float_32_execution(False)


_LEAST_STEPS, _MOST_STEPS = 1 << 10, 1 << 14
#: Numbers in the buffer a block records into.
_MOST_BUFFERED = 1 << 22

_UNUSED = (None,) * SLOTS


class _Data(NamedTuple):
    """Design and targets as they are `_arranged`, and the rows of each step, or none."""

    design: Any
    targets: Any
    batches: Any


class _Numbers(NamedTuple):
    """All numbers of the loss and the update, those of each step first, so that none of them is compiled in."""

    by_step: Any
    options: Any
    penalties: Any
    limit: Any
    decay: Any
    momentum: Any
    overwrite_every: Any


class _Position(NamedTuple):
    """The first step's place in its epoch, and the updates before it."""

    in_epoch: Any
    iteration: Any


class _Carried(NamedTuple):
    """A `State` without its step, and with only those slots that the rule uses."""

    slots: tuple[Any, ...]
    parameters: Any
    average: Any
    batch_squares: Any
    epoch_squares: Any


@dataclass(frozen=True)
class _Program:
    """A block of steps as TensorFlow traces it, and what the trace depends on beside the shapes of its arguments."""

    rule: int
    flags: tuple[bool, ...]
    clipping: ClippingKind
    decays: bool
    averages: bool
    intercept: bool
    mean: bool
    rows: int
    batch_size: int
    steps_per_epoch: int
    shuffle: bool

    def run(
        self, data: _Data, numbers: _Numbers, first: _Position, count: Any, places: Any, start: _Carried, kept: Any
    ) -> Any:
        """Take up to `count` steps from `start`; `kept` is a buffer for each part of `Rows`.

        `places` is where in them each step goes. Returns the steps taken, the state after them and the buffers.
        """

        def unfinished(taken: Any, finite: Any, *_: Any) -> Any:
            return tf.logical_and(taken < count, finite)

        def step(taken: Any, _: Any, carried: _Carried, kept: Any) -> Any:
            moved, finite = self._step(data, numbers, first, taken, carried)
            carried = tf.nest.map_structure(lambda new, old: tf.where(finite, new, old), moved, carried)
            # A step that is not taken is written to the last place, which nobody reads.
            place = tf.where(finite, tf.gather(places, taken), kept[0].shape[0] - 1)
            return taken + tf.cast(finite, tf.int32), finite, carried, _written(kept, place, carried)

        taken, _, carried, kept = tf.while_loop(unfinished, step, (tf.constant(0), tf.constant(True), start, kept))
        return taken, carried, kept

    def _step(
        self, data: _Data, numbers: _Numbers, first: _Position, taken: Any, before: _Carried
    ) -> tuple[_Carried, Any]:
        """What one step makes of the state before it, and whether all of it is finite."""
        position = first.in_epoch + taken
        batch = position % self.steps_per_epoch
        a, y = self._batch(data, position, batch)
        squares, gradient = self._squares_and_gradient(a, y, before.parameters, numbers.penalties, batch)
        w, slots = self._updated(before, self._clipped(gradient, numbers.limit), numbers, taken)
        finite = tf.logical_and(tf.reduce_all(tf.math.is_finite(w)), tf.reduce_all(tf.math.is_finite(squares)))
        average = before.average
        if self.averages:
            w, average = _averaged(w, average, numbers, first.iteration + tf.cast(taken, tf.int64))
        so_far = tf.where(batch == 0, tf.zeros_like(squares), before.epoch_squares)
        return _Carried(slots, w, average, squares, so_far + squares), finite

    def _batch(self, data: _Data, position: Any, batch: Any) -> tuple[Any, Any]:
        # Gathers throughout: XLA wants the begin of a slice as a constant, and would compile every block anew.
        if self.shuffle:
            chosen = tf.gather(data.batches, position)
            return tf.gather(data.design, chosen), tf.gather(data.targets, chosen)
        if self.steps_per_epoch == 1:
            return data.design[0], data.targets[0]
        return tf.gather(data.design, batch), tf.gather(data.targets, batch)

    def _squares_and_gradient(self, a: Any, y: Any, w: Any, penalties: Any, batch: Any) -> tuple[Any, Any]:
        rows = tf.minimum(self.batch_size, self.rows - batch * self.batch_size)
        divisor = tf.cast(rows * y.shape[1], w.dtype) if self.mean else tf.ones([], w.dtype)
        with tf.GradientTape() as tape:
            tape.watch(w)
            of_residuals = tf.reduce_sum(tf.square(tf.matmul(a, w) - y), axis=0)
            of_parameters = tf.reduce_sum(penalties * tf.square(w), axis=0)
            loss = tf.reduce_sum(of_residuals) / divisor + tf.reduce_sum(of_parameters)
        return tf.stack([of_residuals, of_parameters]), tape.gradient(loss, w)

    def _clipped(self, gradient: Any, limit: Any) -> Any:
        match self.clipping:
            case "none":
                return gradient
            case "value":
                return update_rules.clipped_by_value(gradient, limit)
            case "global_norm":
                return update_rules.clipped_by_global_norm(gradient, tf.norm(gradient), limit)
            case "norm":
                variables = (gradient[:1], gradient[1:]) if self.intercept else (gradient,)
                return tf.concat([update_rules.clipped_by_norm(g, tf.norm(g), limit) for g in variables], axis=0)

    def _updated(self, before: _Carried, gradient: Any, numbers: _Numbers, taken: Any) -> tuple[Any, tuple[Any, ...]]:
        """The parameters and slots after one update."""
        varies = numbers.by_step.shape[0] > 1
        now = tf.gather(numbers.by_step, taken) if varies else numbers.by_step[0]
        w = before.parameters
        if self.decays:
            w = update_rules.decayed(w, now[0], numbers.decay)
        a, b, c = (*before.slots, *_UNUSED)[:SLOTS]
        w, *slots = RULES[self.rule](w, gradient, a, b, c, now, numbers.options, self.flags)
        return w, tuple(slots[: len(before.slots)])


def _averaged(w: Any, average: Any, numbers: _Numbers, iteration: Any) -> tuple[Any, Any]:
    """The parameters and their running mean after an update that had so many before it."""
    share = tf.where(iteration == 0, tf.zeros_like(numbers.momentum), numbers.momentum)
    average = update_rules.averaged(average, w, share, 1 - share)
    every = numbers.overwrite_every
    overwrites = tf.logical_and(every > 0, (iteration + 1) % tf.maximum(every, 1) == 0)
    return tf.where(overwrites, average, w), average


def _written(kept: Any, place: Any, carried: _Carried) -> tuple[Any, ...]:
    rows = zip(kept, (carried.parameters, carried.batch_squares, carried.epoch_squares), strict=True)
    return tuple(tf.tensor_scatter_nd_update(buffer, [[place]], [row]) for buffer, row in rows)


@lru_cache(maxsize=64)
def _compile(program: _Program) -> Any:
    """The compiled block of `program`; retraced by TensorFlow where argument shapes differ."""
    return tf.function(program.run, jit_compile=True, autograph=False)


def _program_of(arena: Arena) -> _Program:
    plan, rule = arena.plan, arena.rule
    return _Program(
        rule=rule.code,
        flags=rule.flags,
        clipping=rule.clipping.kind,
        decays=rule.weight_decay is not None,
        averages=rule.averaging is not None,
        intercept=arena.intercept,
        mean=arena.loss == "mse",
        rows=plan.rows,
        batch_size=plan.batch_size,
        steps_per_epoch=plan.steps_per_epoch,
        shuffle=plan.reshuffles,
    )


class TensorflowEngine:
    """See the module's first lines."""

    name = "tensorflow_xla"

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        #: The most steps to ask for at once.
        self.longest_block = _longest_block(arena)
        self._run = _compile(_program_of(arena))
        self._design, self._targets = (tf.constant(part) for part in _arranged(arena))

    def advance(self, state: State, count: int, orders: IntArray | None, recorded: IntArray) -> Block:
        """See `Engine.advance`."""
        places = np.full(self.longest_block, self.longest_block, dtype=np.int32)
        places[recorded - state.step - 1] = np.arange(len(recorded))
        taken, carried, kept = self._run(
            _Data(self._design, self._targets, self._batches(orders)),
            self._numbers(state, count),
            self._position(state),
            tf.constant(count, tf.int32),
            tf.constant(places),
            self._carried(state),
            self._buffers(state),
        )
        step = state.step + int(taken)
        steps = recorded[recorded <= step]
        parameters, batch_squares, epoch_squares = (buffer.numpy()[: len(steps)] for buffer in kept)
        return Block(
            _state(step, carried, state),
            Rows(steps, parameters, batch_squares.astype(np.float64), epoch_squares.astype(np.float64)),
            finite=int(taken) == count,
        )

    def _numbers(self, state: State, count: int) -> _Numbers:
        arena, rule = self._arena, self._arena.rule
        by_step = rule.numbers(arena.earlier + state.step, count)
        if not rule.is_constant:
            # One size for all blocks, as of the buffers.
            by_step = np.pad(by_step, ((0, self.longest_block - count), (0, 0)))
        kept = rule.averaging
        return _Numbers(
            by_step=tf.constant(by_step),
            options=tf.constant(rule.options, arena.dtype),
            penalties=tf.constant(arena.penalties[:, None], arena.dtype),
            limit=tf.constant(rule.clipping.limit, arena.dtype),
            decay=tf.constant(rule.weight_decay or 0.0, arena.dtype),
            momentum=tf.constant(0.0 if kept is None else kept.momentum, arena.dtype),
            overwrite_every=tf.constant(0 if kept is None else kept.overwrite_every, tf.int64),
        )

    def _position(self, state: State) -> _Position:
        plan = self._arena.plan
        return _Position(
            tf.constant((plan.into_epoch + state.step) % plan.steps_per_epoch, tf.int32),
            tf.constant(self._arena.earlier + state.step, tf.int64),
        )

    def _carried(self, state: State) -> _Carried:
        others = (state.parameters, state.average, state.batch_squares, state.epoch_squares)
        return _Carried(
            tuple(tf.constant(slot) for slot in state.slots[: self._arena.rule.slots]),
            *(tf.constant(part, dtype=self._arena.dtype) for part in others),
        )

    def _buffers(self, state: State) -> tuple[Any, ...]:
        # One size for all blocks, whatever they record, so that they share a program.
        places = self.longest_block + 1
        m, q = state.parameters.shape
        shapes = ((places, m, q), (places, 2, q), (places, 2, q))
        return tuple(tf.zeros(shape, dtype=self._arena.dtype) for shape in shapes)

    def _batches(self, orders: IntArray | None) -> Any:
        """(steps, batch_size) rows of each step from the first epoch's first, as many epochs as a block can touch."""
        if orders is None:
            return tf.zeros((1, 1), tf.int32)
        plan = self._arena.plan
        epochs = -(-self.longest_block // plan.steps_per_epoch) + 1
        places = plan.steps_per_epoch * plan.batch_size
        padded = np.full((epochs, max(places, plan.rows)), plan.rows, dtype=np.int32)
        padded[: len(orders), : plan.rows] = orders
        return tf.constant(padded[:, :places].reshape(-1, plan.batch_size))


def _arranged(arena: Arena) -> tuple[np.ndarray[Any, Any], ...]:
    """Design and targets: (b, batch_size, k) batches in order, or (n + 1, k) rows, the last one 0, for any order."""
    (n, m, q), plan = arena.shape, arena.plan
    places = n + 1 if plan.reshuffles else plan.steps_per_epoch * plan.batch_size
    design, targets = np.zeros((places, m), arena.dtype), np.zeros((places, q), arena.dtype)
    end, together = min(n, places), arena.rows.block_rows
    for first in range(0, end, together):
        last = min(first + together, end)
        design[first:last], targets[first:last] = arena.rows.block(first, last)
    if plan.reshuffles:
        return design, targets
    return tuple(part.reshape(plan.steps_per_epoch, plan.batch_size, -1) for part in (design, targets))


def _longest_block(arena: Arena) -> int:
    """A power of two, where nothing else bounds it, so that fits of many lengths share a program."""
    (_, m, q), plan = arena.shape, arena.plan
    enough = max(1 << (plan.total_steps - 1).bit_length(), _LEAST_STEPS)
    ordered = plan.most_ordered_steps if plan.reshuffles else enough
    return max(min(enough, ordered, _MOST_STEPS, _MOST_BUFFERED // (m * q)), 1)


def _state(step: int, carried: _Carried, before: State) -> State:
    """What the loop carried, as the next block takes it."""
    used = [slot.numpy() for slot in carried.slots]
    return State(
        step,
        carried.parameters.numpy(),
        np.stack([*used, *before.slots[len(used) :]]),
        carried.average.numpy(),
        carried.batch_squares.numpy().astype(np.float64),
        carried.epoch_squares.numpy().astype(np.float64),
    )
