"""Steps by rows, compiled by Numba: each batch's rows are visited once, by index, and nothing is gathered.

Products are taken in the working precision and summed in float64, so float32 descents carry float32 rounding in their
weights, data and residuals but not in their sums.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from service.fitting.arrays import BoolArray, FloatArray, IntArray, WorkingArray
from service.fitting.descent import update_rules
from service.fitting.descent.elementary import sqrt
from service.fitting.descent.engine import Arena, Block, Rows, State, no_rows


# Numba wants the signatures of both to be alike, and a lambda has no annotations.
@overload(sqrt)
def _sqrt(x):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda x: np.sqrt(x)


_sgd = njit(cache=True)(update_rules.sgd)
_rmsprop = njit(cache=True)(update_rules.rmsprop)
_SGD = update_rules.RULES.index(update_rules.sgd)


@njit(cache=True)
def _update(
    code: int, w: Any, g: Any, a: Any, b: Any, c: Any, rate: Any, options: WorkingArray, flags: BoolArray
) -> Any:
    if code == _SGD:
        return _sgd(w, g, a, b, c, rate, options, flags)
    return _rmsprop(w, g, a, b, c, rate, options, flags)


@njit(cache=True)
def _gradient(
    design: WorkingArray,
    targets: WorkingArray,
    rows: IntArray,
    first: int,
    last: int,
    w: WorkingArray,
    gradient: FloatArray,
    squares: FloatArray,
) -> None:
    """Sums over rows[first:last] (or first:last) of a_i (a_i'w - y_i) and of the squared residual, (m, q) and (q,)."""
    m, q = w.shape
    gradient[:] = 0.0
    squares[:] = 0.0
    ordered = rows.shape[0] == 0
    for position in range(first, last):
        i = position if ordered else rows[position]
        for k in range(q):
            residual = -targets[i, k]
            for j in range(m):
                residual += design[i, j] * w[j, k]
            squares[k] += residual * residual
            for j in range(m):
                gradient[j, k] += residual * design[i, j]


@njit(cache=True)
def _penalise(penalties: FloatArray, w: WorkingArray, squares: FloatArray) -> None:
    """Sums of penalty_j w_jk^2 into `squares` (q,)."""
    m, q = w.shape
    squares[:] = 0.0
    for j in range(m):
        for k in range(q):
            squares[k] += penalties[j] * (w[j, k] * w[j, k])


@njit(cache=True)
def _step(
    code: int,
    w: WorkingArray,
    gradient: FloatArray,
    factor: float,
    penalties: FloatArray,
    slots: WorkingArray,
    rate: Any,
    options: WorkingArray,
    flags: BoolArray,
    new_w: WorkingArray,
    new_slots: WorkingArray,
) -> bool:
    """One update of every parameter into `new_w` and `new_slots`; whether all of it is finite."""
    m, q = w.shape
    finite = True
    for j in range(m):
        for k in range(q):
            g = w.dtype.type(gradient[j, k] * factor + 2.0 * penalties[j] * w[j, k])
            value, a, b, c = _update(
                code, w[j, k], g, slots[0, j, k], slots[1, j, k], slots[2, j, k], rate, options, flags
            )
            new_w[j, k] = value
            new_slots[0, j, k], new_slots[1, j, k], new_slots[2, j, k] = a, b, c
            finite = finite and np.isfinite(value)
    return finite


@njit(cache=True)
def _run(
    design: WorkingArray,
    targets: WorkingArray,
    penalties: FloatArray,
    batch_size: int,
    per_epoch: int,
    mean: bool,
    code: int,
    rate: Any,
    options: WorkingArray,
    flags: BoolArray,
    first_step: int,
    count: int,
    orders: IntArray,
    recorded: IntArray,
    w: WorkingArray,
    slots: WorkingArray,
    batch_squares: FloatArray,
    epoch_squares: FloatArray,
    kept_w: WorkingArray,
    kept_batch: FloatArray,
    kept_epoch: FloatArray,
) -> tuple[int, int]:
    """Take steps in place; returns how many were taken and how many rows were recorded."""
    n, q = targets.shape
    gradient = np.empty(w.shape)
    # Where there is no penalty its sums stay 0, and are not worked on. One axis is quicker than two.
    penalised = penalties.any()
    squares = np.empty(2 * q if penalised else q)
    of_residuals, of_parameters = squares[:q], squares[q:]
    in_batch, in_epoch = batch_squares.reshape(2 * q)[: len(squares)], epoch_squares.reshape(2 * q)[: len(squares)]
    new_w, new_slots = np.empty_like(w), np.empty_like(slots)
    first_epoch = first_step // per_epoch
    rows = orders[0]
    kept = 0
    for taken in range(count):
        done = first_step + taken
        batch = done % per_epoch
        first = batch * batch_size
        last = min(first + batch_size, n)
        if orders.shape[1] > 0:
            rows = orders[done // per_epoch - first_epoch]
        _gradient(design, targets, rows, first, last, w, gradient, of_residuals)
        if penalised:
            _penalise(penalties, w, of_parameters)
        factor = 2.0 / ((last - first) * q) if mean else 2.0
        finite = np.isfinite(squares.sum())
        if finite:
            finite = _step(code, w, gradient, factor, penalties, slots, rate, options, flags, new_w, new_slots)
        if not finite:
            return taken, kept
        w[:], slots[:], in_batch[:] = new_w, new_slots, squares
        if batch == 0:
            in_epoch[:] = 0.0
        in_epoch += squares
        if kept < len(recorded) and recorded[kept] == done + 1:
            kept_w[kept], kept_batch[kept], kept_epoch[kept] = w, batch_squares, epoch_squares
            kept += 1
    return count, kept


_IN_ORDER = np.empty((1, 0), dtype=np.int64)


class NumpyRowsEngine:
    """See the module's first lines."""

    name = "numpy_rows"

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        number = arena.dtype.type
        rule = arena.rule
        self._rate = number(rule.rate)
        self._options = np.array(rule.options, dtype=arena.dtype)
        self._flags = np.array(rule.flags, dtype=np.bool_)

    def advance(self, state: State, count: int, orders: IntArray | None, recorded: IntArray) -> Block:
        """See `Engine.advance`."""
        arena, plan = self._arena, self._arena.plan
        w, slots = state.parameters.copy(), state.slots.copy()
        batch_squares, epoch_squares = state.batch_squares.copy(), state.epoch_squares.copy()
        rows = no_rows(len(recorded), state)
        taken, kept = _run(
            arena.design, arena.targets, arena.penalties, plan.batch_size, plan.steps_per_epoch, arena.loss == "mse",
            arena.rule.code, self._rate, self._options, self._flags,
            state.step, count, _IN_ORDER if orders is None else orders, recorded,
            w, slots, batch_squares, epoch_squares,
            *rows,
        )  # fmt: skip
        return Block(
            State(state.step + taken, w, slots, batch_squares, epoch_squares),
            Rows(recorded[:kept], *(column[:kept] for column in rows)),
            finite=taken == count,
        )
