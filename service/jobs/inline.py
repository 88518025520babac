"""Fits that take no detour: small enough to be solved where they are asked for, by the process that serves HTTP.

They are the exact ones, and descents that have a closed form: without Numba, nothing else is quick enough.

Exact ones are solved in its event loop, where for as long as it takes nobody else is answered: that bounds them to less
than the queue itself takes, some 10 ms. Handed to a thread, a fifth fewer were answered a second, and each took 0.2 ms
more: NumPy hardly ever lets go of Python's lock on small arrays. A descent takes longer, as what is said of its end is
worked out too: it is one for a thread, where it takes turns with the event loop.
"""

from service.fitting.data import Dataset
from service.fitting.descent.backends import closed_form
from service.fitting.descent.engine import Arena, Engine
from service.fitting.descent.plan import plan_batches
from service.fitting.descent.standing import Standing
from service.fitting.diagnosis.simulation import Simulated, Simulation
from service.fitting.recording import recorded_steps
from service.fitting.reference.double_double import Pair
from service.fitting.reference.kernels import PLAIN, Block
from service.fitting.solve import Tools, solve
from service.fitting.solver import Backend, Descent, Exact
from service.fitting.task import FitTask
from service.jobs.messages import Part, Solved
from service.jobs.telling import Teller

#: No exact fit is let into the event loop, or left there, for longer than about this.
MOST_SECONDS = 5e-3
#: And no descent into a thread beside it.
MOST_SECONDS_DESCENDING = 1.5e-2
#: As much of either may go into passes over the data in doubled precision.
MOST_SECONDS_REFINING = 3e-3

# Measured on one core of an AMD EPYC, for 5 to 5000 rows, 1 to 300 columns and 1 to 3 targets. Inference with all its
# tables costs the fixed part once more.
_SECONDS_FIXED = 5e-4
_SECONDS_A_NUMBER = 2.5e-7
_SECONDS_A_FLOP = 1e-9
# A descent in closed form, likewise, for up to 10 batches, 10 parameters and 10 000 recorded steps.
_SECONDS_A_DESCENT = 1.3e-3
_SECONDS_A_BATCH = 3e-4
_SECONDS_A_RECORDED_NUMBER = 2.2e-7
_SECONDS_A_MAP_PRODUCT = 1.2e-6
_SECONDS_A_BATCH_PRODUCT = 8e-8
# What is said of its end, remedies run and all: at least, and for each number of its state.
_SECONDS_A_DIAGNOSIS = 4.5e-3
_SECONDS_A_DIAGNOSED_NUMBER = 3.5e-4
# Its steps, where they are taken, one by one, by compiled loops: each with what is simulated of it in the end, and each
# number of its rows.
_SECONDS_A_STEP = 2e-6
_SECONDS_A_ROW_NUMBER = 2e-9
# One pass over rows in doubled precision: each call, each product.
_SECONDS_A_CALL = 3e-5
_SECONDS_A_PRODUCT = 1.5e-7


def is_small(task: FitTask, dataset: Dataset) -> bool:
    """Whether the fit is one for the process that serves HTTP, going by its size."""
    most = MOST_SECONDS if isinstance(task.solver, Exact) else MOST_SECONDS_DESCENDING
    return not task.others and _estimated_seconds(task, dataset) <= most


def is_tiny(task: FitTask, dataset: Dataset) -> bool:
    """Whether a worker may take the fit together with others, going by its size: it keeps them waiting for moments.

    That is what is small, and descents that come to as little with all their steps taken. TensorFlow has to be loaded.
    """
    if isinstance(task.solver, Exact):
        return is_small(task, dataset)
    if task.others or task.solver.backend != "numpy":
        return False
    seconds = _estimated_seconds(task, dataset) + _stepping_seconds(task, task.solver, dataset)
    return seconds <= MOST_SECONDS_DESCENDING


def solve_at_once(task: FitTask, dataset: Dataset, ended: Standing | None = None) -> Solved | None:
    """The answer to a small fit, exact or by a closed form; None where the fit is one for the queue.

    How long a fit takes depends on its size, which is known, and on how well the data determine it, which turns out:
    refining an ill-conditioned or rank-deficient one takes up to fifty times as long. It goes to the queue as soon as
    it has taken too much.

    Parameters
    ----------
    ended
        Where the fit ended that the solver's start names, if it names one.

    Raises
    ------
    InvalidProblem
        The problem cannot be fitted as asked.
    """
    if not is_small(task, dataset):
        return None
    teller, kernels = Teller(_unsaid), _SparingKernels(MOST_SECONDS_REFINING)
    try:
        tools = Tools(kernels, _closed_form_only, _nobody)
        solution = solve(task.problem(dataset), task.solver, task.recording, teller, task.questions, ended, tools)
    except TooMuchWork:
        return None
    return teller.solved(solution)


def _closed_form_only(backend: Backend, arena: Arena) -> tuple[Engine, int]:
    engine = closed_form(arena) if backend == "numpy" else None
    if engine is None:
        raise TooMuchWork
    return engine


def _nobody(simulation: Simulation) -> Simulated:  # noqa: ARG001
    raise TooMuchWork


def _unsaid(message: object) -> None:
    """Nobody is told on the way: it is over at once."""
    if isinstance(message, Part):
        raise TooMuchWork


def _estimated_seconds(task: FitTask, dataset: Dataset) -> float:
    """For data that determine the answer well: the design's Gram matrix and its inverse, one step of refinement."""
    n, m, q = dataset.rows, len(task.model.terms), len(task.model.targets)
    seconds = _SECONDS_FIXED + _SECONDS_A_NUMBER * n * m * q + _SECONDS_A_FLOP * (n + m) * m**2
    return seconds if isinstance(task.solver, Exact) else seconds + _descent_seconds(task, task.solver, dataset)


def _descent_seconds(task: FitTask, descent: Descent, dataset: Dataset) -> float:
    """Beside the exact answer: the batches' products and maps, the epoch's powers, what is said of steps and end."""
    plan, recording = plan_batches(descent, dataset.rows), task.recording
    m, q = len(task.model.terms), len(task.model.targets)
    state = m if getattr(descent.optimizer, "momentum", 0.0) == 0.0 else 2 * m
    recorded = recorded_steps(recording, plan.total_steps, plan.steps_per_epoch).rows
    maps = plan.steps_per_epoch + (plan.total_steps // plan.steps_per_epoch).bit_length()
    return (
        _SECONDS_A_DESCENT
        + _SECONDS_A_DIAGNOSIS
        + _SECONDS_A_DIAGNOSED_NUMBER * state
        + _SECONDS_A_BATCH * plan.steps_per_epoch
        + _SECONDS_A_RECORDED_NUMBER * recorded * state * q
        + _SECONDS_A_MAP_PRODUCT * maps * state**3
        + _SECONDS_A_BATCH_PRODUCT * dataset.rows * m * (m + q)
    )


def _stepping_seconds(task: FitTask, descent: Descent, dataset: Dataset) -> float:
    """Of a descent that has no closed form, which goes through batches' sums or, shuffled, through their rows."""
    plan = plan_batches(descent, dataset.rows)
    rows = plan.total_steps * min(descent.batch_size or dataset.rows, dataset.rows) if descent.shuffle else 0
    return _SECONDS_A_STEP * plan.total_steps + _SECONDS_A_ROW_NUMBER * rows * len(task.model.terms)


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
