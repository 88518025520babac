"""The orders in which a shuffled plan takes its rows: one permutation an epoch, each drawn once and in sequence.

The stream they are drawn from has no jump to a later epoch. So where a descent ends, the stream's own state is kept for
another that goes on from there (`StreamState`): nothing is drawn again from the start.
"""

import numpy as np

from service.fitting.arrays import IntArray
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.standing import StreamState


class RowOrders:
    """The row orders of the epochs that steps fall in.

    Parameters
    ----------
    began
        The stream's state before the order of the plan's current epoch was drawn; None at the plan's own beginning.
    """

    def __init__(self, plan: BatchPlan, began: StreamState | None = None) -> None:
        self._plan = plan
        self._stream = np.random.Generator(np.random.PCG64(plan.seed)) if began is None else began.stream()
        self._current = np.empty((0, plan.rows), dtype=np.int64)
        self._first = 0
        #: The stream's state before the orders of some epochs were drawn, always that of the earliest one held.
        self._states: dict[int, StreamState] = {}

    def for_steps(self, step: int, count: int) -> IntArray | None:
        """(e, n) for steps ``step + 1 .. step + count``; None where the plan keeps the rows in order."""
        if not self._plan.reshuffles:
            return None
        first, last = self._plan.epochs_ended(step), self._plan.epochs_ended(step + count - 1)
        kept = self._current[first - self._first :]
        self._states = {epoch: state for epoch, state in self._states.items() if epoch >= first}
        drawn = [self._draw(epoch, first + len(kept), last) for epoch in range(first + len(kept), last + 1)]
        self._current, self._first = np.vstack([kept, *drawn]), first
        return self._current

    def _draw(self, epoch: int, *noted: int) -> IntArray:
        if epoch in noted:
            self._states[epoch] = StreamState.of(self._stream)
        return self._stream.permutation(self._plan.rows)

    def state_at(self, step: int) -> StreamState | None:
        """What `began` must be for a descent that goes on after `step`, from among the steps asked for last.

        None where the plan keeps the rows in order.
        """
        if not self._plan.reshuffles:
            return None
        epoch = self._plan.epochs_ended(step)
        if epoch == self._first + len(self._current):
            return StreamState.of(self._stream)
        noted = max(before for before in self._states if before <= epoch)
        stream = self._states[noted].stream()
        for _ in range(epoch - noted):
            stream.permutation(self._plan.rows)
        return StreamState.of(stream)
