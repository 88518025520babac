"""The boundary between forecasts and what takes their steps: sufficient statistics in, recorded states out.

Forecasts are made where HTTP is served too, and there is no Numba there: steps are taken by whoever has it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.optimizers import Optimizer
from service.fitting.solver import Precision


@dataclass(frozen=True, eq=False)
class Simulation:
    """Steps to take, in descent's units.

    Attributes
    ----------
    products, factors
        (b, m + 1, m + q) as `batch_products` makes them, and (b,) what each batch's squares are multiplied by twice.
    optimum, penalties, intercept
        As in `Arena`.
    parameters, slots, average
        As in `State`, at the first step.
    earlier, into_epoch
        Updates before the first step, and batches of its epoch that were met before it.
    order
        (s,) which batch each step takes, s being all steps; None for one after the other.
    recorded
        The steps after which parameters are wanted, from 1, ascending; the last one is how many are taken.
    """

    optimizer: Optimizer
    dtype: Precision
    products: FloatArray
    factors: FloatArray
    optimum: FloatArray
    penalties: FloatArray
    intercept: bool
    parameters: FloatArray
    slots: FloatArray
    average: FloatArray
    earlier: int
    into_epoch: int
    order: IntArray | None
    recorded: IntArray


@dataclass(frozen=True, eq=False)
class Simulated:
    """States (r, m, q) after steps (r,), up to the last finite one; running means where they are the answer."""

    steps: IntArray
    parameters: FloatArray
    is_finite: bool


#: Raises `TooLong` where there is nobody to take the steps, or not in time.
Simulate = Callable[[Simulation], Simulated]


class TooLong(Exception):
    """The simulation cannot be had here, or not in time."""
