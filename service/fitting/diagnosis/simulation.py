"""The boundary between forecasts and what takes their steps: sufficient statistics in, recorded states out.

Forecasts are made where HTTP is served too, and there is no Numba there: steps are taken by whoever has it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.optimizers import Optimizer
from service.fitting.solver import Precision


@dataclass(frozen=True, eq=False)
class Simulation:
    """Steps to take in c courses beside each other, in descent's units.

    Attributes
    ----------
    products, factors
        (b, m + 1, m + q) and (b,), see `batch_products` and `factors_of`.
    optimum, penalties, intercept
        As in `Arena`.
    parameters
        (c, m, q) where each course begins.
    slots, average
        As in `State`, at the first step of every course.
    earlier, into_epoch
        Updates before the first step, and batches of its epoch that were met before it.
    orders
        (c, s) which batch each step takes, s being all steps; None for one after the other.
    recorded
        (r,) the steps after which parameters are wanted, from 1, ascending; the last one is how many are taken.
    """

    optimizer: Optimizer
    dtype: Precision
    products: FloatArray
    factors: FloatArray
    optimum: FloatArray
    penalties: FloatArray
    intercept: bool
    parameters: WorkingArray
    slots: WorkingArray
    average: WorkingArray
    earlier: int
    into_epoch: int
    orders: IntArray | None
    recorded: IntArray


@dataclass(frozen=True, eq=False)
class Simulated:
    """States (c, r, m, q) after steps (r,), up to the last at which all courses are finite.

    Running means where they are the answer.
    """

    steps: IntArray
    parameters: FloatArray
    is_finite: bool


#: Raises `TooLong` where there is nobody to take the steps, or not in time.
Simulate = Callable[[Simulation], Simulated]


class TooLong(Exception):
    """The simulation cannot be had here, or not in time."""
