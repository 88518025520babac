"""The one loop: asks an engine for blocks of steps, keeps what was recorded, stops where it should.

Blocks end where an epoch ends, so that stop rules see whole epochs, and are short enough that progress, a time limit
and a cancel are seen several times a second.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.engine import Block, Engine, Rows, State
from service.fitting.descent.plan import BatchPlan

Ending = Literal["step_limit", "converged", "time_limit", "diverged"]

#: A block should take about this long.
BLOCK_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class Descended:
    """A finished descent: how it ended, where, and all recorded rows, the start and the last state included."""

    ending: Ending
    state: State
    rows: Rows


def descend(
    engine: Engine,
    plan: BatchPlan,
    start: FloatArray,
    recorded: IntArray,
    *,
    longest_block: int,
    block_per_epoch: bool,
    watch: Callable[[State], Ending | None],
) -> Descended:
    """Run the plan to its end, or until `watch` names another one or a number is no longer finite.

    Parameters
    ----------
    start
        (m, q) in the working precision.
    recorded
        The steps to record, ascending, from 0.
    longest_block
        Most steps in one call of the engine.
    block_per_epoch
        Whether `watch` must see every epoch's end.
    watch
        Called after every block.
    """
    state = State.at_start(start)
    kept = [_row(state)]
    orders = _Orders(plan)
    pace = _Pace(longest_block)
    ending: Ending = "step_limit"
    while state.step < plan.total_steps:
        count = _block_length(plan, state.step, pace.steps, block_per_epoch)
        began = time.perf_counter()
        block = _advance(engine, state, count, orders, recorded)
        pace.learn(time.perf_counter() - began)
        state = block.state
        kept.append(block.rows)
        if not block.finite:
            ending = "diverged"
            break
        if (stopped := watch(state)) is not None:
            ending = stopped
            break
    return Descended(ending, state, _joined(kept, state))


def _advance(engine: Engine, state: State, count: int, orders: "_Orders", recorded: IntArray) -> Block:
    low, high = np.searchsorted(recorded, [state.step, state.step + count], side="right")
    return engine.advance(state, count, orders.for_steps(state.step, count), recorded[low:high])


def _block_length(plan: BatchPlan, step: int, pace: int, block_per_epoch: bool) -> int:
    """Whole epochs where they fit, else up to the end of the one begun, else as many steps as fit."""
    per_epoch = plan.steps_per_epoch
    to_epoch_end = per_epoch - step % per_epoch
    pace = min(pace, plan.most_ordered_steps)
    if pace < to_epoch_end:
        count = pace
    elif block_per_epoch:
        count = to_epoch_end
    else:
        count = to_epoch_end + (pace - to_epoch_end) // per_epoch * per_epoch
    return min(count, plan.total_steps - step)


class _Pace:
    """How many steps fill `BLOCK_SECONDS`, learnt from the blocks so far."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self.steps = min(64, longest)

    def learn(self, elapsed: float) -> None:
        # The first block may hold compilation: it says nothing about the pace, and growth is bounded.
        growth = min(BLOCK_SECONDS / max(elapsed, 1e-6), 16.0)
        self.steps = int(np.clip(self.steps * growth, 1, self._longest))


class _Orders:
    """The row orders of the epochs that steps fall in, each drawn once and in sequence."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._permutations: Iterator[IntArray] = plan.permutations()
        self._current = np.empty((0, plan.rows), dtype=np.int64)
        self._first = 0

    def for_steps(self, step: int, count: int) -> IntArray | None:
        """(e, n) for steps ``step + 1 .. step + count``; None where the plan keeps the rows in order."""
        if not self._plan.reshuffles:
            return None
        first, last = step // self._plan.steps_per_epoch, (step + count - 1) // self._plan.steps_per_epoch
        kept = self._current[first - self._first :]
        missing = last + 1 - first - len(kept)
        drawn = [next(self._permutations) for _ in range(missing)]
        self._current, self._first = np.vstack([kept, *drawn]), first
        return self._current


def _row(state: State) -> Rows:
    return Rows(
        np.array([state.step]),
        state.parameters[None],
        state.batch_squares[None],
        state.epoch_squares[None],
    )


def _joined(kept: list[Rows], state: State) -> Rows:
    """All rows in one, with the last state added where it was not recorded."""
    if not any(len(rows.step) and rows.step[-1] == state.step for rows in kept):
        kept = [*kept, _row(state)]
    return Rows(
        np.concatenate([rows.step for rows in kept]),
        np.concatenate([rows.parameters for rows in kept]),
        np.concatenate([rows.batch_squares for rows in kept]),
        np.concatenate([rows.epoch_squares for rows in kept]),
    )
