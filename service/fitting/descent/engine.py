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

    `design` is A (n, m) and `targets` Y (n, q), both C-contiguous.
    """

    design: WorkingArray
    targets: WorkingArray
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
        (q,) sums of squared residuals of the last step's batch, before its update.
    epoch_squares
        (q,) the same summed over the epoch so far.
    """

    step: int
    parameters: WorkingArray
    slots: WorkingArray
    batch_squares: FloatArray
    epoch_squares: FloatArray

    @classmethod
    def at_start(cls, parameters: WorkingArray) -> "State":
        targets = parameters.shape[1]
        slots = np.zeros((SLOTS, *parameters.shape), dtype=parameters.dtype)
        return cls(0, parameters, slots, np.zeros(targets), np.zeros(targets))


@dataclass(frozen=True, eq=False)
class Rows:
    """Recorded states: step (r,), parameters (r, m, q), batch_squares and epoch_squares (r, q)."""

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
    return np.empty((count, m, q), dtype=state.parameters.dtype), np.empty((count, q)), np.empty((count, q))
