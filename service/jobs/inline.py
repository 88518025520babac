"""Fits that take no detour: small enough to be solved where they are asked for, by the process that serves HTTP.

They are solved in its event loop, where for as long as it takes nobody else is answered: that bounds them to less than
the queue itself takes, some 10 ms. Handed to a thread, a fifth fewer were answered a second, and each took 0.2 ms more:
NumPy hardly ever lets go of Python's lock on small arrays.
"""

from service.fitting.data import Dataset
from service.fitting.exact import solve_exactly
from service.fitting.reference.double_double import Pair
from service.fitting.reference.kernels import PLAIN, Block
from service.fitting.solution import Report
from service.fitting.solver import Exact
from service.fitting.task import FitTask

#: No fit is let into the event loop, or left there, for longer than about this.
MOST_SECONDS = 3e-3

# Measured on one core of an AMD EPYC, for 5 to 5000 rows, 1 to 300 columns and 1 to 3 targets. Inference with all its
# tables costs the fixed part once more.
_SECONDS_FIXED = 5e-4
_SECONDS_A_NUMBER = 2.5e-7
_SECONDS_A_FLOP = 1e-9
# One pass over rows in doubled precision: each call, each product.
_SECONDS_A_CALL = 3e-5
_SECONDS_A_PRODUCT = 1.5e-7


def solve_at_once(task: FitTask, dataset: Dataset) -> Report | None:
    """The answer to a small exact fit; None where the fit is one for the queue.

    How long a fit takes depends on its size, which is known, and on how well the data determine it, which turns out:
    refining an ill-conditioned or rank-deficient one takes up to fifty times as long. It goes to the queue as soon as
    it has taken too much.

    Raises
    ------
    InvalidProblem
        The problem cannot be fitted as asked.
    """
    if not isinstance(task.solver, Exact) or task.others or _estimated_seconds(task, dataset) > MOST_SECONDS:
        return None
    try:
        return solve_exactly(task.problem(dataset), task.solver, task.inference, (), _SparingKernels(MOST_SECONDS))
    except TooMuchWork:
        return None


def _estimated_seconds(task: FitTask, dataset: Dataset) -> float:
    """For data that determine the answer well: the design's Gram matrix and its inverse, one step of refinement."""
    n, m, q = dataset.rows, len(task.model.terms), len(task.model.targets)
    return _SECONDS_FIXED + _SECONDS_A_NUMBER * n * m * q + _SECONDS_A_FLOP * (n + m) * m**2


class TooMuchWork(Exception):
    """The fit is larger than it looked."""


class _SparingKernels:
    """`PLAIN`, until so many seconds are spent: counted by the work, not by a clock, so that it is always the same."""

    release_lock = False

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def subtract_product(self, block: Block, x: Pair, r: Pair) -> None:
        """See `Kernels`. Like the others raises TooMuchWork."""
        self._spend(block.count * block.columns.shape[1] * r.high.shape[1])
        PLAIN.subtract_product(block, x, r)

    def add_transposed_product(self, block: Block, r: Pair, g: Pair) -> None:
        """See `Kernels`."""
        self._spend(block.count * block.columns.shape[1] * r.high.shape[1])
        PLAIN.add_transposed_product(block, r, g)

    def add_gram(self, block: Block, gram: Pair) -> None:
        """See `Kernels`."""
        self._spend(block.count * block.columns.shape[1] ** 2)
        PLAIN.add_gram(block, gram)

    def _spend(self, products: int) -> None:
        self._left -= _SECONDS_A_CALL + _SECONDS_A_PRODUCT * products
        if self._left < 0.0:
            raise TooMuchWork
