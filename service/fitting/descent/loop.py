"""The one loop: asks an engine for blocks of steps, has their rows recorded, and stops where it should."""

import time
from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import IntArray
from service.fitting.descent.endings import CANCELLED, DIVERGED, STEP_LIMIT, Ending
from service.fitting.descent.engine import Block, Engine, JumpingEngine, Rows, State
from service.fitting.descent.pace import Pace
from service.fitting.descent.recorder import Recorder
from service.fitting.descent.row_orders import RowOrders
from service.fitting.descent.watch import Watch
from service.fitting.recording import united

#: Rows of a block are in memory beside those of a part.
_BLOCKS_IN_PART = 4
#: Regular rows that an engine which need not go through them goes through all the same, for the one of least loss.
_MOST_LISTED = 1 << 20


@dataclass(frozen=True, eq=False)
class Descended:
    """A finished descent: how it ended, and where."""

    ending: Ending
    state: State


def descend(
    engine: Engine, longest: int, start: State, orders: RowOrders, recorder: Recorder, watch: Watch
) -> Descended:
    """Take all steps, or as many as there are until a stop rule is met or a number is no longer finite.

    `longest` is the most that the engine should be asked for at once.
    """
    plan = watch.account.plan
    blocks = _Blocks(engine, orders, recorder, watch)
    jumps = isinstance(engine, JumpingEngine)
    pace = Pace(plan, plan.batch_size * start.parameters.size, min(longest, blocks.longest), jumps=jumps)
    state, ending = start, None
    recorder.begin(state)
    watch.begin(state)
    while ending is None:
        count = pace.steps(state.step, watch.seconds_left)
        began = time.perf_counter()
        block, ending = blocks.after(state, count)
        pace.learn(count, time.perf_counter() - began)
        recorder.take(block.rows, state.step, block.state.step)
        state = block.state
        goes_on = watch.report(state, recorder.glimpse)
        if ending is None and state.step == plan.total_steps:
            ending = STEP_LIMIT
        if ending is None:
            ending = watch.out_of_time() if goes_on else CANCELLED
    recorder.finish(state)
    return Descended(ending, state)


class _Blocks:
    """Blocks of steps, each cut where a stop rule is met, with the rows that the recorder wants of it."""

    def __init__(self, engine: Engine, orders: RowOrders, recorder: Recorder, watch: Watch) -> None:
        self._engine = engine
        self._orders = orders
        self._recorder = recorder
        self._watch = watch
        jumps = isinstance(engine, JumpingEngine) and recorder.steps.regular_rows > _MOST_LISTED
        self._jumper = engine if jumps and isinstance(engine, JumpingEngine) else None

    @property
    def longest(self) -> int:
        """Most steps for which the rows asked for are few beside those that make a part."""
        steps, plan = self._recorder.steps, self._watch.account.plan
        spacing = steps.stride if self._jumper is None else steps.spacing
        if self._watch.stop.looks_at_epochs:
            spacing = min(spacing, plan.steps_per_epoch)
        return self._recorder.rows_in_part * spacing // _BLOCKS_IN_PART

    def after(self, state: State, count: int) -> tuple[Block, Ending | None]:
        """The next `count` steps, or fewer; and the ending, where they came to one."""
        ends = self._watch.ends_of_epochs(state.step, state.step + count)
        orders = self._orders.for_steps(state.step, count)
        listed = self._listed(state.step, state.step + count)
        # As often as not, every step is listed.
        asked = listed if len(listed) == count else united(listed, ends)
        block = self._engine.advance(state, count, orders, asked)
        met = self._watch.met(block.rows, ends)
        if met is not None:
            block = self._up_to(met.step, block, state, orders)
        if self._jumper is not None and block.state.step > state.step:
            block = self._with_rows(block, state, self._jumper)
        return block, met.ending if met is not None else None if block.finite else DIVERGED

    def _listed(self, after: int, up_to: int) -> IntArray:
        if self._jumper is not None:
            return np.empty(0, np.int64)
        steps = self._recorder.steps
        return steps.regular(after, up_to) if steps.keeps_least else self._recorder.asks_for(after, up_to)

    def _up_to(self, step: int, block: Block, before: State, orders: IntArray | None) -> Block:
        """The block cut short: its rows are there, and the state is computed once more, to the same bits."""
        if step == block.state.step:
            return Block(block.state, block.rows, finite=True)
        again = self._engine.advance(before, step - before.step, orders, np.empty(0, np.int64))
        kept, rows = int(np.searchsorted(block.rows.step, step, side="right")), block.rows
        rows = Rows(rows.step[:kept], rows.parameters[:kept], rows.batch_squares[:kept], rows.epoch_squares[:kept])
        return Block(again.state, rows, finite=True)

    def _with_rows(self, block: Block, before: State, jumper: JumpingEngine) -> Block:
        """The block with the rows that are wanted of it, now that it is known where it ends."""
        last = block.state.step
        asked = self._recorder.asks_for(before.step, last)
        regular = self._recorder.steps.regular_range(before.step, last)
        if self._recorder.steps.keeps_least and regular:
            asked = united(asked, np.array([jumper.least(before, regular, self._recorder.loss)]))
        rows = jumper.advance(before, last - before.step, None, asked).rows
        return Block(block.state, rows, block.finite)
