"""The sufficient statistics of batches in a fixed order: all that steps need of their rows.

Plain NumPy: the process that serves HTTP forecasts by them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.engine import Arena
from service.fitting.descent.plan import BatchPlan
from service.fitting.loss import Loss
from service.fitting.reference.gram_factor import factor_gram
from service.fitting.threads import one_thread_each, threads

#: Of A'A, its columns brought to one length, in the 1-norm: so much of float64 is lost in the squares.
_MOST_CONDITION = 1e6
#: Products below which starting threads costs more than they save.
_LEAST_SHARE = 1_000_000


def batch_products(arena: Arena) -> FloatArray:
    """(b, m + 1, m + q): for each batch [H_b S_b], over a row of zeros and the squares of R_b's columns."""
    _, m, q = arena.shape
    plan = arena.plan
    products = np.zeros((plan.steps_per_epoch, m + 1, m + q))

    # Every thread has its own settings for what leaves float64.
    @np.errstate(all="ignore")
    def work(first: int, last: int) -> None:
        for batches, design, targets in arena.rows.batches(plan, first, last, arena.rows.block_rows):
            columns = np.empty((m + q, len(design)))
            columns[:m], columns[m:] = design.T, targets.T
            columns[m:] -= arena.optimum.T @ columns[:m]
            add_products(columns, products[batches])

    _share(work, plan.steps_per_epoch, plan.rows * m * (m + q))
    return products


def factors_of(plan: BatchPlan, loss: Loss, targets: int) -> FloatArray:
    """(b,) the f of each batch, whose gradient about the optimum is f (H_b D - S_b)."""
    rows = plan.rows_of(np.arange(1, plan.steps_per_epoch + 1))
    return 2.0 / (rows * targets) if loss == "mse" else np.full(len(rows), 2.0)


def add_products(columns: FloatArray, products: FloatArray) -> None:
    """Add [A R]' (m + q, r), the rows of batches of one length, to their products."""
    batches, m = len(products), products.shape[1] - 1
    stacked = columns.reshape(len(columns), batches, -1)
    products[:, :m] += stacked[:m].transpose(1, 0, 2) @ stacked.transpose(1, 2, 0)
    products[:, m, m:] += np.square(stacked[m:]).sum(axis=2).T


def are_exact_enough(products: FloatArray) -> bool:
    """Whether products (b, m + 1, m + q) say all that the data do: they square the condition number and all sizes."""
    gram = products[:, :-1, : products.shape[1] - 1].sum(axis=0)
    return factor_gram(gram, _MOST_CONDITION) is not None and bool(np.isfinite(products).all())


def _share(work: Callable[[int, int], None], batches: int, size: int) -> None:
    """Have threads do the work on batches first .. last - 1 each, where it is enough for them."""
    shares = min(threads(), batches, size // _LEAST_SHARE)
    if shares <= 1:
        work(0, batches)
        return
    bounds = [batches * share // shares for share in range(shares + 1)]
    with one_thread_each(), ThreadPoolExecutor(shares) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
