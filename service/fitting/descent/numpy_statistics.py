"""Steps by sufficient statistics, compiled by Numba: O(m^2) a step, whatever the batch size.

Of a batch with the rows A_b and Y_b a step needs H_b = A_b'A_b, S_b = A_b'R_b and the squares of R_b's columns, where
R_b = Y_b - A_b W* about the optimum W*. With D = W - W* the batch's gradient is factor (H_b D - S_b) and its squares
are |R_b|^2 - 2 S_b.D + D.H_b D, in which nothing cancels where D is small. Sums are taken in float64, of data that are
first rounded to the working precision; so are the parameters after each step.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.batch_products import are_exact_enough, batch_products, factors_of
from service.fitting.descent.engine import Arena, Block, Rows, State, no_rows
from service.fitting.descent.numpy_step import Form, form_by, scratch, step
from service.fitting.descent.rules import Rule
from service.fitting.reference.compiled import fma


# Inlined, as the next three: a call that is handed arrays takes longer than all they do.
@njit(inline="always")
def _gradient(
    products: FloatArray,
    factor: float,
    optimum: FloatArray,
    w: WorkingArray,
    offset: FloatArray,
    gradient: FloatArray,
    squares: FloatArray,
) -> None:
    """The batch's gradient (m, q) and squares (q,) at w, penalties apart; `offset` (2, m) is written over."""
    m, q = w.shape
    for k in range(q):
        for j in range(m):
            offset[0, j] = w[j, k] - optimum[j, k]
            offset[1, j] = 0.0
        for j in range(m):
            for i in range(m):
                offset[1, i] += products[j, i] * offset[0, j]
        square = products[m, m + k]
        for j in range(m):
            pull = products[j, m + k]
            square += (offset[1, j] - 2.0 * pull) * offset[0, j]
            gradient[j, k] = (offset[1, j] - pull) * factor
        # Rounding must not make a perfect fit's squares negative.
        squares[k] = max(square, 0.0)


@njit(inline="always")
def _penalise(penalties: FloatArray, w: WorkingArray, gradient: FloatArray, squares: FloatArray) -> None:
    """Add the penalties' gradient, and write their squares (q,)."""
    m, q = w.shape
    squares[:] = 0.0
    for j in range(m):
        for k in range(q):
            gradient[j, k] += 2.0 * penalties[j] * w[j, k]
            squares[k] += penalties[j] * (w[j, k] * w[j, k])


@njit(inline="always")
def _are_finite(squares: FloatArray) -> bool:
    total = 0.0
    for part in range(2):
        for k in range(squares.shape[1]):
            total += squares[part, k]
    return bool(np.isfinite(total))


@njit(inline="always")
def _note(squares: FloatArray, begins: bool, batch_squares: FloatArray, epoch_squares: FloatArray) -> None:
    """Write a step's squares (2, q), and add them to the epoch's, which `begins` with them."""
    for part in range(2):
        for k in range(squares.shape[1]):
            before = 0.0 if begins else epoch_squares[part, k]
            batch_squares[part, k] = squares[part, k]
            epoch_squares[part, k] = before + squares[part, k]


@njit(cache=True)
def _run(
    products: FloatArray,
    factors: FloatArray,
    optimum: FloatArray,
    penalties: FloatArray,
    form: Form,
    numbers: WorkingArray,
    earlier: int,
    into_epoch: int,
    first_step: int,
    count: int,
    order: IntArray,
    recorded: IntArray,
    seen: WorkingArray,
    w: WorkingArray,
    slots: WorkingArray,
    average: WorkingArray,
    batch_squares: FloatArray,
    epoch_squares: FloatArray,
    kept_w: WorkingArray,
    kept_batch: FloatArray,
    kept_epoch: FloatArray,
    fresh: WorkingArray,
) -> tuple[int, int]:
    """Take steps in place; returns how many were taken and how many rows were recorded.

    Batches come one after the other, or as the `order` of all the steps says where it is not empty. What is recorded is
    `seen`: `w`, or another of the arrays that change.
    """
    (m, q), per_epoch = w.shape, len(products)
    gradient, squares, offset = np.empty((m, q)), np.zeros((2, q)), np.empty((2, m))
    penalised, varies = penalties.any(), len(numbers) > 1
    flat, flat_gradient, flat_slots = w.reshape(-1), gradient.reshape(-1), slots.reshape((len(slots), -1))
    flat_average = average.reshape(-1)
    batch, kept, ordered = (into_epoch + first_step) % per_epoch, 0, len(order) > 0
    for taken in range(count):
        done = first_step + taken
        if ordered:
            batch = order[taken]
        _gradient(products[batch], factors[batch], optimum, w, offset, gradient, squares[0])
        if penalised:
            _penalise(penalties, w, gradient, squares[1])
        finite = _are_finite(squares)
        if finite:
            row, iteration = taken if varies else 0, earlier + done + 1
            finite = step(form, numbers, row, iteration, flat, flat_gradient, flat_slots, flat_average, fresh)
        if not finite:
            return taken, kept
        _note(squares, batch == 0, batch_squares, epoch_squares)
        if kept < len(recorded) and recorded[kept] == done + 1:
            kept_w[kept], kept_batch[kept], kept_epoch[kept] = seen, batch_squares, epoch_squares
            kept += 1
        batch = batch + 1 if batch + 1 < per_epoch else 0
    return count, kept


@njit(cache=True)
def _run_three(
    products: FloatArray,
    optimum: FloatArray,
    rate: Any,
    into_epoch: int,
    first_step: int,
    count: int,
    recorded: IntArray,
    w: WorkingArray,
    batch_squares: FloatArray,
    epoch_squares: FloatArray,
    kept_w: WorkingArray,
    kept_batch: FloatArray,
    kept_epoch: FloatArray,
) -> tuple[int, int]:
    """`_run` for plain updates of three parameters, which stay in registers all the while: ten times as quick.

    `products` (b, 4, 4) are those of three parameters times the batch's factor, but for the squares, with the factor's
    inverse in the row of zeros. The sums are arranged so that a step waits for as few operations as can be.
    """
    per_epoch, number = len(products), w.dtype.type
    c0, c1, c2 = optimum[0, 0], optimum[1, 0], optimum[2, 0]
    w0, w1, w2 = w[0, 0], w[1, 0], w[2, 0]
    in_batch, in_epoch = batch_squares[0, 0], epoch_squares[0, 0]
    batch, kept, taken = (into_epoch + first_step) % per_epoch, 0, 0
    due = recorded[0] if len(recorded) > 0 else -1
    while taken < count:
        p = products[batch]
        d0, d1, d2 = w0 - c0, w1 - c1, w2 - c2
        g0 = fma(p[0, 0], d0, p[0, 1] * d1) + fma(p[0, 2], d2, -p[0, 3])
        g1 = fma(p[1, 0], d0, p[1, 1] * d1) + fma(p[1, 2], d2, -p[1, 3])
        g2 = fma(p[2, 0], d0, p[2, 1] * d1) + fma(p[2, 2], d2, -p[2, 3])
        square = p[3, 3] + p[3, 0] * ((g0 - p[0, 3]) * d0 + (g1 - p[1, 3]) * d1 + (g2 - p[2, 3]) * d2)
        new0, new1, new2 = w0 - number(g0) * rate, w1 - number(g1) * rate, w2 - number(g2) * rate
        if not (np.isfinite(square) and np.isfinite(new0) and np.isfinite(new1) and np.isfinite(new2)):
            break
        w0, w1, w2 = new0, new1, new2
        in_batch = max(square, 0.0)
        in_epoch = in_batch if batch == 0 else in_epoch + in_batch
        taken += 1
        if first_step + taken == due:
            kept_w[kept, 0, 0], kept_w[kept, 1, 0], kept_w[kept, 2, 0] = w0, w1, w2
            kept_batch[kept, 0, 0], kept_epoch[kept, 0, 0] = in_batch, in_epoch
            kept_batch[kept, 1, 0], kept_epoch[kept, 1, 0] = 0.0, 0.0
            kept += 1
            due = recorded[kept] if kept < len(recorded) else -1
        batch = batch + 1 if batch + 1 < per_epoch else 0
    w[0, 0], w[1, 0], w[2, 0] = w0, w1, w2
    batch_squares[0, 0], epoch_squares[0, 0] = in_batch, in_epoch
    return taken, kept


#: Steps of a block: fewer where each has numbers of its own, which are worked out for a block at once.
_MOST_STEPS, _MOST_VARYING_STEPS = 1 << 24, 1 << 16
#: Parameters of `_run_three`.
_THREE = 3


#: No order of batches: one comes after the other.
IN_TURN = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class StatisticsSteps:
    """What steps by sufficient statistics are computed from.

    Attributes
    ----------
    products, factors
        See `batch_products` and `factors_of`.
    split
        See `Form`.
    optimum, penalties, earlier
        See `Arena`.
    into_epoch
        Batches of the first epoch that were met before the first step.
    """

    products: FloatArray
    factors: FloatArray
    rule: Rule
    split: int
    optimum: FloatArray
    penalties: FloatArray
    earlier: int
    into_epoch: int

    @cached_property
    def form(self) -> Form:
        return form_by(self.rule, self.split)

    @property
    def longest_block(self) -> int:
        """The most steps to take at once."""
        return _MOST_STEPS if self.rule.is_constant else _MOST_VARYING_STEPS

    def after(
        self, state: State, count: int, recorded: IntArray, order: IntArray = IN_TURN, *, means: bool = False
    ) -> Block:
        """See `Engine.advance`.

        Parameters
        ----------
        order
            (count,) which batch each step takes; one after the other where it is empty.
        means
            Whether it is the running mean that is recorded, in the parameters' place.
        """
        w, slots, average = state.parameters.copy(), state.slots.copy(), state.average.copy()
        batch_squares, epoch_squares = state.batch_squares.copy(), state.epoch_squares.copy()
        rows = no_rows(len(recorded), state)
        taken, kept = _run(
            self.products, self.factors, self.optimum, self.penalties,
            self.form, self.rule.numbers(self.earlier + state.step, count), self.earlier,
            self.into_epoch, state.step, count, order, recorded,
            average if means else w,
            w, slots, average, batch_squares, epoch_squares,
            *rows,
            scratch(w),
        )  # fmt: skip
        return Block(
            State(state.step + taken, w, slots, average, batch_squares, epoch_squares),
            Rows(recorded[:kept], *(column[:kept] for column in rows)),
            finite=taken == count,
        )


class NumpyStatisticsEngine:
    """See the module's first lines."""

    name = "numpy_statistics"

    def __init__(self, arena: Arena) -> None:
        plan, (_, m, q) = arena.plan, arena.shape
        self._arena = arena
        self._steps = StatisticsSteps(
            products=batch_products(arena),
            factors=factors_of(plan, arena.loss, q),
            rule=arena.rule,
            split=q if arena.intercept else 0,
            optimum=arena.optimum,
            penalties=arena.penalties,
            earlier=arena.earlier,
            into_epoch=plan.into_epoch,
        )
        is_plain = self._steps.form.is_plain and arena.rule.is_constant and not arena.penalties.any()
        self._is_three = m <= _THREE and q == 1 and is_plain

    @property
    def is_exact_enough(self) -> bool:
        """Whether products of the data say all that the data do: they square the condition number and all sizes."""
        return are_exact_enough(self._steps.products)

    @property
    def longest_block(self) -> int:
        """The most steps to ask for at once."""
        return self._steps.longest_block

    def advance(self, state: State, count: int, orders: IntArray | None, recorded: IntArray) -> Block:  # noqa: ARG002
        """See `Engine.advance`."""
        return (
            self._advance_three(state, count, recorded) if self._is_three else self._steps.after(state, count, recorded)
        )

    def _advance_three(self, state: State, count: int, recorded: IntArray) -> Block:
        arena, plan = self._arena, self._arena.plan
        m = len(state.parameters)
        w, optimum = np.zeros((_THREE, 1), arena.dtype), np.zeros((_THREE, 1))
        w[:m], optimum[:m] = state.parameters, arena.optimum
        batch_squares, epoch_squares = state.batch_squares.copy(), state.epoch_squares.copy()
        _, *squares = no_rows(len(recorded), state)
        kept_w = np.empty((len(recorded), _THREE, 1), arena.dtype)
        taken, kept = _run_three(
            self._products_of_three, optimum, arena.dtype.type(arena.rule.numbers(0, 1)[0, 0]),
            plan.into_epoch, state.step, count, recorded,
            w, batch_squares, epoch_squares, kept_w, *squares,
        )  # fmt: skip
        return Block(
            replace(
                state,
                step=state.step + taken,
                parameters=w[:m],
                batch_squares=batch_squares,
                epoch_squares=epoch_squares,
            ),
            Rows(recorded[:kept], np.ascontiguousarray(kept_w[:kept, :m]), *(column[:kept] for column in squares)),
            finite=taken == count,
        )

    @cached_property
    def _products_of_three(self) -> FloatArray:
        """(b, 4, 4), as `_run_three` takes them."""
        m, own, factors = len(self._arena.optimum), self._steps.products, self._steps.factors
        products = np.zeros((len(own), _THREE + 1, _THREE + 1))
        products[:, :m, :m], products[:, :m, -1] = own[:, :m, :m], own[:, :m, -1]
        products *= factors[:, None, None]
        products[:, -1, 0], products[:, -1, -1] = 1.0 / factors, own[:, -1, -1]
        return products
