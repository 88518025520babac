"""Steps by rows, compiled by Numba: each batch's rows are visited once, by index, and nothing is gathered.

Products are taken in the working precision and summed in float64, so float32 descents carry float32 rounding in their
weights, data and residuals but not in their sums.
"""

import numpy as np
from numba import njit

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.engine import Arena, Block, Rows, State, no_rows
from service.fitting.descent.numpy_step import Form, borrowed, form_of, inlined, scratch, step


@inlined
def _visit(
    design: WorkingArray,
    targets: WorkingArray,
    orders: IntArray,
    epoch: int,
    first: int,
    last: int,
    w: WorkingArray,
    gradient: FloatArray,
    squares: FloatArray,
) -> None:
    """Sums over the rows orders[epoch, first:last] of a_i (a_i'w - y_i) and of the squared residual, (m, q) and (q,).

    Rows are first:last themselves where `orders` is empty.
    """
    m, q = w.shape
    gradient[:] = 0.0
    squares[:q] = 0.0
    ordered = orders.shape[1] == 0
    for position in range(first, last):
        i = position if ordered else orders[epoch, position]
        for k in range(q):
            residual = -targets[i, k]
            for j in range(m):
                residual += design[i, j] * w[j, k]
            squares[k] += residual * residual
            for j in range(m):
                gradient[j, k] += residual * design[i, j]


@inlined
def _complete(penalties: FloatArray, factor: float, w: WorkingArray, gradient: FloatArray, squares: FloatArray) -> None:
    """Make `gradient` the loss's, penalty inside, and add the penalties' squares (q,) to the residuals'."""
    m, q = w.shape
    squares[q:] = 0.0
    for j in range(m):
        for k in range(q):
            squares[q + k] += penalties[j] * (w[j, k] * w[j, k])
            gradient[j, k] = gradient[j, k] * factor + 2.0 * penalties[j] * w[j, k]


@njit(cache=True, error_model="numpy")
def _run(
    design: WorkingArray,
    targets: WorkingArray,
    penalties: FloatArray,
    batch_size: int,
    per_epoch: int,
    mean: bool,
    form: Form,
    numbers: WorkingArray,
    earlier: int,
    into_epoch: int,
    first_step: int,
    count: int,
    orders: IntArray,
    recorded: IntArray,
    w: WorkingArray,
    slots: WorkingArray,
    average: WorkingArray,
    batch_squares: FloatArray,
    epoch_squares: FloatArray,
    kept_w: WorkingArray,
    kept_batch: FloatArray,
    kept_epoch: FloatArray,
    gradient: FloatArray,
    squares: FloatArray,
    fresh: WorkingArray,
) -> tuple[int, int]:
    """Take steps in place; returns how many were taken and how many rows were recorded.

    `gradient` (m, q), `squares` (2 q,) and `fresh` are worked in.
    """
    n, q = targets.shape
    design, targets, penalties, orders = borrowed(design), borrowed(targets), borrowed(penalties), borrowed(orders)
    numbers, w, gradient, squares, fresh = (
        borrowed(numbers), borrowed(w), borrowed(gradient), borrowed(squares), borrowed(fresh)
    )  # fmt: skip
    # One axis is quicker than two.
    in_batch, in_epoch = borrowed(batch_squares.reshape(2 * q)), borrowed(epoch_squares.reshape(2 * q))
    flat, flat_gradient = borrowed(w.reshape(-1)), borrowed(gradient.reshape(-1))
    flat_slots, flat_average = borrowed(slots.reshape((len(slots), -1))), borrowed(average.reshape(-1))
    varies, begun = len(numbers) > 1, into_epoch + first_step
    first_epoch, batch, kept = begun // per_epoch, begun % per_epoch, 0
    for taken in range(count):
        first = batch * batch_size
        last = min(first + batch_size, n)
        _visit(design, targets, orders, (begun + taken) // per_epoch - first_epoch, first, last, w, gradient, squares)
        _complete(penalties, 2.0 / ((last - first) * q) if mean else 2.0, w, gradient, squares)
        finite = np.isfinite(squares.sum())
        if finite:
            row, iteration = taken if varies else 0, earlier + first_step + taken + 1
            finite = step(form, numbers, row, iteration, flat, flat_gradient, flat_slots, flat_average, fresh)
        if not finite:
            return taken, kept
        for k in range(2 * q):
            in_batch[k] = squares[k]
            in_epoch[k] = squares[k] if batch == 0 else in_epoch[k] + squares[k]
        if kept < len(recorded) and recorded[kept] == first_step + taken + 1:
            kept_w[kept], kept_batch[kept], kept_epoch[kept] = w, batch_squares, epoch_squares
            kept += 1
        batch = batch + 1 if batch + 1 < per_epoch else 0
    return count, kept


_IN_ORDER = np.empty((1, 0), dtype=np.int64)
#: Steps of a block: fewer where each has numbers of its own, which are worked out for a block at once.
_MOST_STEPS, _MOST_VARYING_STEPS = 1 << 24, 1 << 16


class NumpyRowsEngine:
    """See the module's first lines."""

    name = "numpy_rows"

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._form = form_of(arena)

    @property
    def longest_block(self) -> int:
        """The most steps to ask for at once."""
        return _MOST_STEPS if self._arena.rule.is_constant else _MOST_VARYING_STEPS

    def advance(self, state: State, count: int, orders: IntArray | None, recorded: IntArray) -> Block:
        """See `Engine.advance`."""
        arena, plan = self._arena, self._arena.plan
        w, slots, average = state.parameters.copy(), state.slots.copy(), state.average.copy()
        batch_squares, epoch_squares = state.batch_squares.copy(), state.epoch_squares.copy()
        rows = no_rows(len(recorded), state)
        taken, kept = _run(
            arena.design, arena.targets, arena.penalties, plan.batch_size, plan.steps_per_epoch, arena.loss == "mse",
            self._form, arena.rule.numbers(arena.earlier + state.step, count), arena.earlier,
            plan.into_epoch, state.step, count, _IN_ORDER if orders is None else orders, recorded,
            w, slots, average, batch_squares, epoch_squares,
            *rows,
            np.empty(w.shape), np.empty(2 * w.shape[1]), scratch(w),
        )  # fmt: skip
        return Block(
            State(state.step + taken, w, slots, average, batch_squares, epoch_squares),
            Rows(recorded[:kept], *(column[:kept] for column in rows)),
            finite=taken == count,
        )
