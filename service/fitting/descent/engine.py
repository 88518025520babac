"""The boundary between the loop and what computes steps: state in, state and recorded rows out."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.update_rules import SLOTS, Rule
from service.fitting.loss import Loss


@dataclass(frozen=True, eq=False)
class Arena:
    """All that stays the same through a descent, in the working precision.

    Attributes
    ----------
    design, targets
        A (n, m) and Y (n, q), C-contiguous, their rows multiplied by the root of the row's weight: plain squares are
        weighted ones then, and a batch's loss is still divided by its rows.
    penalties
        (m,) float64: what is added to every batch's loss for each parameter's square.
    """

    design: WorkingArray
    targets: WorkingArray
    penalties: FloatArray
    plan: BatchPlan
    rule: Rule
    loss: Loss

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        return self.design.dtype


@dataclass(frozen=True, eq=False)
class State:
    """Where a descent stands after `step` updates.

    Attributes
    ----------
    parameters
        (m, q), working precision.
    slots
        (SLOTS, m, q), the optimizer's memory.
    batch_squares
        (2, q) of the last step's batch, before its update: sums of squared residuals, and of squared parameters times
        their penalties.
    epoch_squares
        (2, q) the same summed over the batches of the epoch so far.
    """

    step: int
    parameters: WorkingArray
    slots: WorkingArray
    batch_squares: FloatArray
    epoch_squares: FloatArray

    @classmethod
    def at_start(cls, parameters: WorkingArray) -> "State":
        squares = (2, parameters.shape[1])
        slots = np.zeros((SLOTS, *parameters.shape), dtype=parameters.dtype)
        return cls(0, parameters, slots, np.zeros(squares), np.zeros(squares))


@dataclass(frozen=True, eq=False)
class Rows:
    """Recorded states: step (r,), parameters (r, m, q), batch_squares and epoch_squares (r, 2, q)."""

    step: IntArray
    parameters: WorkingArray
    batch_squares: FloatArray
    epoch_squares: FloatArray


@dataclass(frozen=True, eq=False)
class Block:
    """What came of asking for some steps. `finite` is False where the step after `state` met a non-finite number."""

    state: State
    rows: Rows
    finite: bool


class Engine(Protocol):
    """Computes steps. Made for one `Arena`; holds no state between calls but what is compiled."""

    @property
    def name(self) -> str:
        """As it stands in the result: ``numpy_rows``, ``tensorflow_xla``."""

    def advance(self, state: State, count: int, orders: IntArray | None, recorded: IntArray) -> Block:
        """Take `count` steps from `state`, stopping early before the first non-finite number.

        Parameters
        ----------
        orders
            (e, n) the row orders of the epochs these steps touch, the first being that of the next step; None where
            rows are taken in order.
        recorded
            The steps to record among ``state.step + 1 .. state.step + count``, ascending.
        """


def no_rows(count: int, state: State) -> tuple[NDArray[Any], FloatArray, FloatArray]:
    """Empty arrays for `count` recorded rows: parameters, batch squares, epoch squares."""
    m, q = state.parameters.shape
    squares = (count, 2, q)
    return np.empty((count, m, q), dtype=state.parameters.dtype), np.empty(squares), np.empty(squares)
