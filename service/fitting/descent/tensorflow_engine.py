"""Steps in one compiled TensorFlow loop: the gradient from `tf.GradientTape`, the update from the rule, records kept
inside.

A block of steps is one call of a ``tf.function(jit_compile=True)``, so Python and the device meet once a block.
Programs are kept by what they are compiled for; a second fit of the same shape in the same process compiles nothing.
Shapes are static under XLA: the last batch of an epoch is padded with rows of zeros, which add nothing, and rows are
recorded into a buffer whose last place takes the steps that nobody asked for.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from service.fitting.arrays import IntArray, WorkingArray
from service.fitting.descent.engine import Arena, Block, Rows, State
from service.fitting.descent.quiet_tensorflow import tf
from service.fitting.descent.update_rules import RULES


@dataclass(frozen=True)
class _Program:
    """A block of steps as TensorFlow traces it, and what the trace depends on beside the shapes of its arguments."""

    rule: int
    flags: tuple[bool, ...]
    mean: bool
    rows: int
    batch_size: int
    steps_per_epoch: int
    shuffle: bool

    def run(self, data: Any, numbers: Any, first: Any, count: Any, places: Any, carried: Any, kept: Any) -> Any:
        """Take up to `count` steps, the first being number `first` of its epoch, from 0.

        `data` is design, targets and the rows of each step; `numbers` the rate, the rule's options and the penalties
        (m, 1); `carried` a `State` without its step; `kept` a buffer for each part of `Rows`, and `places` where in it
        each step goes.
        """

        def unfinished(taken: Any, finite: Any, *_: Any) -> Any:
            return tf.logical_and(taken < count, finite)

        def step(taken: Any, _: Any, carried: Any, kept: Any) -> Any:
            moved, finite = self._step(data, numbers, first + taken, carried)
            carried = tuple(tf.where(finite, new, old) for new, old in zip(moved, carried, strict=True))
            # A step that is not taken is written to the last place, which nobody reads.
            place = tf.where(finite, tf.gather(places, taken), kept[0].shape[0] - 1)
            return taken + tf.cast(finite, tf.int32), finite, carried, _written(kept, place, carried)

        start = (tf.constant(0), tf.constant(True), carried, kept)
        taken, _, carried, kept = tf.while_loop(unfinished, step, start)
        return taken, carried, kept

    def _step(self, data: Any, numbers: Any, position: Any, carried: Any) -> tuple[Any, Any]:
        """What one step makes of `carried`, and whether all of it is finite."""
        w, slots, _, epoch_squares = carried
        rate, options, penalties = numbers
        batch = position % self.steps_per_epoch
        squares, gradient = self._squares_and_gradient(*self._batch(data, position, batch), w, penalties, batch)
        new_w, *new_slots = RULES[self.rule](w, gradient, *tf.unstack(slots), rate, options, self.flags)
        before = tf.where(batch == 0, tf.zeros_like(epoch_squares), epoch_squares)
        finite = tf.logical_and(tf.reduce_all(tf.math.is_finite(new_w)), tf.reduce_all(tf.math.is_finite(squares)))
        return (new_w, tf.stack(new_slots), squares, before + squares), finite

    def _batch(self, data: Any, position: Any, batch: Any) -> tuple[Any, Any]:
        design, targets, orders = data
        # Gathers throughout: XLA wants the begin of a slice as a constant, and would compile every block anew.
        if self.shuffle:
            chosen = tf.gather(orders, position)
            return tf.gather(design, chosen), tf.gather(targets, chosen)
        if self.steps_per_epoch == 1:
            return design[0], targets[0]
        return tf.gather(design, batch), tf.gather(targets, batch)

    def _squares_and_gradient(self, a: Any, y: Any, w: Any, penalties: Any, batch: Any) -> tuple[Any, Any]:
        rows = tf.minimum(self.batch_size, self.rows - batch * self.batch_size)
        divisor = tf.cast(rows * y.shape[1], w.dtype) if self.mean else tf.ones([], w.dtype)
        with tf.GradientTape() as tape:
            tape.watch(w)
            of_residuals = tf.reduce_sum(tf.square(tf.matmul(a, w) - y), axis=0)
            of_parameters = tf.reduce_sum(penalties * tf.square(w), axis=0)
            loss = tf.reduce_sum(of_residuals) / divisor + tf.reduce_sum(of_parameters)
        return tf.stack([of_residuals, of_parameters]), tape.gradient(loss, w)


def _written(kept: Any, place: Any, carried: Any) -> tuple[Any, ...]:
    w, _, batch_squares, epoch_squares = carried
    rows = zip(kept, (w, batch_squares, epoch_squares), strict=True)
    return tuple(tf.tensor_scatter_nd_update(buffer, [[place]], [row]) for buffer, row in rows)


@lru_cache(maxsize=64)
def _compile(program: _Program) -> Any:
    """The compiled block of `program`; retraced by TensorFlow where argument shapes differ."""
    return tf.function(program.run, jit_compile=True, autograph=False)


class TensorflowEngine:
    """See the module's first lines."""

    name = "tensorflow_xla"

    def __init__(self, arena: Arena, longest_block: int) -> None:
        plan, rule = arena.plan, arena.rule
        self._arena = arena
        self._longest_block = longest_block
        self._run = _compile(
            _Program(
                rule.code, rule.flags, arena.loss == "mse",
                plan.rows, plan.batch_size, plan.steps_per_epoch, plan.reshuffles,
            )
        )  # fmt: skip
        self._design = tf.constant(self._arranged(arena.design))
        self._targets = tf.constant(self._arranged(arena.targets))
        numbers = (rule.rate, rule.options, arena.penalties[:, None])
        self._numbers = tuple(tf.constant(number, dtype=arena.dtype) for number in numbers)

    def advance(self, state: State, count: int, orders: IntArray | None, recorded: IntArray) -> Block:
        """See `Engine.advance`."""
        places = np.full(self._longest_block, self._longest_block, dtype=np.int32)
        places[recorded - state.step - 1] = np.arange(len(recorded))
        first = state.step % self._arena.plan.steps_per_epoch
        taken, carried, kept = self._run(
            (self._design, self._targets, self._batches(orders)),
            self._numbers,
            tf.constant(first, tf.int32),
            tf.constant(count, tf.int32),
            tf.constant(places),
            self._carried(state),
            self._buffers(state),
        )
        step = state.step + int(taken)
        parameters, slots, batch_squares, epoch_squares = (array.numpy() for array in carried)
        steps = recorded[recorded <= step]
        rows = [buffer.numpy()[: len(steps)] for buffer in kept]
        return Block(
            State(step, parameters, slots, batch_squares.astype(np.float64), epoch_squares.astype(np.float64)),
            Rows(steps, rows[0], rows[1].astype(np.float64), rows[2].astype(np.float64)),
            finite=int(taken) == count,
        )

    def _carried(self, state: State) -> tuple[Any, ...]:
        parts = (state.parameters, state.slots, state.batch_squares, state.epoch_squares)
        return tuple(tf.constant(part, dtype=self._arena.dtype) for part in parts)

    def _buffers(self, state: State) -> tuple[Any, ...]:
        # One size for all blocks, whatever they record, so that they share a program.
        places = self._longest_block + 1
        m, q = state.parameters.shape
        shapes = ((places, m, q), (places, 2, q), (places, 2, q))
        return tuple(tf.zeros(shape, dtype=self._arena.dtype) for shape in shapes)

    def _arranged(self, values: WorkingArray) -> WorkingArray:
        """(b, batch_size, k) batches in order; (n + 1, k) rows, the last one 0, where the order is drawn anew."""
        plan = self._arena.plan
        if plan.reshuffles:
            return np.pad(values, ((0, 1), (0, 0)))
        places = plan.steps_per_epoch * plan.batch_size
        fitted = np.pad(values[:places], ((0, max(places - plan.rows, 0)), (0, 0)))
        return fitted.reshape(plan.steps_per_epoch, plan.batch_size, -1)

    def _batches(self, orders: IntArray | None) -> Any:
        """(steps, batch_size) rows of each step from the first epoch's first, as many epochs as a block can touch."""
        if orders is None:
            return tf.zeros((1, 1), tf.int32)
        plan = self._arena.plan
        epochs = -(-self._longest_block // plan.steps_per_epoch) + 1
        places = plan.steps_per_epoch * plan.batch_size
        padded = np.full((epochs, max(places, plan.rows)), plan.rows, dtype=np.int32)
        padded[: len(orders), : plan.rows] = orders
        return tf.constant(padded[:, :places].reshape(-1, plan.batch_size))
