"""The boundary between the loop and what computes steps: state in, state and recorded rows out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.kept import Kept
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.rules import Rule
from service.fitting.descent.standing import Origin
from service.fitting.descent.update_rules import SLOTS
from service.fitting.descent.working_rows import WorkingRows
from service.fitting.loss import Loss


@dataclass(frozen=True, eq=False)
class Arena:
    """All that stays the same through a descent.

    Attributes
    ----------
    rows
        A (n, m) and Y (n, q) in the working precision, block by block or whole.
    penalties
        (m,) float64: what is added to every batch's loss for each parameter's square.
    optimum
        (m, q) float64: where descent leads, in its own units. Sums of squares taken about it do not cancel near it.
    intercept
        Whether the first row of the parameters is an intercept: a variable of its own for Keras, beside the kernel.
    origin
        What a closed form counts from.
    is_watched
        Whether every epoch's end is looked at, by a stop rule.
    earlier
        Updates the optimizer had made before the first step, by another descent that this one goes on from.
    kept
        What has been worked out of the rows about the optimum, for all arenas that have them in common.
    engines
        Those that were made for this one.
    """

    rows: WorkingRows
    penalties: FloatArray
    optimum: FloatArray
    intercept: bool
    plan: BatchPlan
    rule: Rule
    loss: Loss
    origin: Origin
    is_watched: bool = False
    earlier: int = 0
    kept: Kept = field(default_factory=Kept)
    engines: Kept = field(default_factory=Kept)

    @property
    def shape(self) -> tuple[int, int, int]:
        """n, m and q."""
        return self.rows.shape

    @property
    def design(self) -> WorkingArray:
        """All of A, C-contiguous: a copy as large as the data, made when first asked for."""
        return self.rows.design

    @property
    def targets(self) -> WorkingArray:
        """All of Y, likewise."""
        return self.rows.targets

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        return self.rows.dtype


@dataclass(frozen=True, eq=False)
class State:
    """Where a descent stands after `step` updates.

    Attributes
    ----------
    step
        Updates of this descent; those of an earlier one it goes on from are not counted.
    parameters
        (m, q), working precision.
    slots
        (SLOTS, m, q), the update rule's memory.
    average
        (m, q), the running mean of the parameters; 0 where none is kept.
    batch_squares
        (2, q) of the last step's batch, before its update: sums of squared residuals, and of squared parameters times
        their penalties.
    epoch_squares
        (2, q) the same summed over the batches of the epoch so far.
    """

    step: int
    parameters: WorkingArray
    slots: WorkingArray
    average: WorkingArray
    batch_squares: FloatArray
    epoch_squares: FloatArray

    @classmethod
    def at_start(cls, parameters: WorkingArray, rule: Rule) -> "State":
        squares = (2, parameters.shape[1])
        slots = np.zeros((SLOTS, *parameters.shape), dtype=parameters.dtype)
        slots += np.array(rule.first_slots, dtype=parameters.dtype)[:, None, None]
        return cls(0, parameters, slots, np.zeros_like(parameters), np.zeros(squares), np.zeros(squares))


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
        """As it stands in the result, ``numpy_rows`` and the like."""

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


@runtime_checkable
class JumpingEngine(Engine, Protocol):
    """Computes any step without those before it: only what is recorded takes time."""

    def least(self, state: State, steps: range, loss: Callable[[FloatArray], FloatArray]) -> int:
        """Which of the steps after `state`, all of them finite, has the least `loss` (r,) of parameters (r, m, q)."""


def no_rows(count: int, state: State) -> tuple[NDArray[Any], FloatArray, FloatArray]:
    """Empty arrays for `count` recorded rows: parameters, batch squares, epoch squares."""
    m, q = state.parameters.shape
    squares = (count, 2, q)
    return np.empty((count, m, q), dtype=state.parameters.dtype), np.empty(squares), np.empty(squares)
