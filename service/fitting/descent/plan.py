"""The batch plan: which rows make which step, the same for every engine and for Keras.

Rows in order, the last batch of an epoch short unless it is dropped. With `shuffle`, every epoch takes one
permutation from ``numpy.random.Generator(PCG64(seed))``, so anybody can replay a run.
"""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import IntArray
from service.fitting.solver import Descent

#: Row numbers that the orders of one block may hold; one epoch's order is always allowed.
MOST_ORDER_ENTRIES = 1 << 19


@dataclass(frozen=True)
class BatchPlan:
    """n rows in batches of `batch_size` (<= n), up to `total_steps` steps.

    `begun` are the steps that other descents have taken of the same plan, where this one goes on from them: its first
    step is number `begun` + 1 of the plan. Steps and epochs are counted from this descent's start everywhere else; the
    rest of an epoch that was begun is its first.
    """

    rows: int
    batch_size: int
    steps_per_epoch: int
    total_steps: int
    shuffle: bool
    seed: int
    begun: int = 0

    @property
    def reshuffles(self) -> bool:
        """Whether the order of rows matters: one batch of all rows is the same in any order."""
        return self.shuffle and self.batch_size < self.rows

    @property
    def most_ordered_steps(self) -> int:
        """Steps, in whole epochs, whose row orders fit into memory at once; all of them where no order is drawn."""
        if not self.reshuffles:
            return self.total_steps
        return max(MOST_ORDER_ENTRIES // self.rows, 1) * self.steps_per_epoch

    @property
    def into_epoch(self) -> int:
        """Steps of its first epoch that were taken before this descent."""
        return self.begun % self.steps_per_epoch

    def epoch_of(self, step: IntArray) -> IntArray:
        """The epoch, from 1, that each step (from 1) belongs to; 0 for step 0."""
        return np.where(step == 0, 0, -(-(self.into_epoch + step) // self.steps_per_epoch))

    def epochs_ended(self, step: int) -> int:
        """Epochs that have come to their end with `step`."""
        return (self.into_epoch + step) // self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch's last batch has been met after `step` steps."""
        return (self.into_epoch + step) % self.steps_per_epoch == 0

    def batch_of(self, step: IntArray) -> IntArray:
        """The batch within its epoch, from 1, of each step; 0 for step 0."""
        return np.where(step == 0, 0, (self.into_epoch + step - 1) % self.steps_per_epoch + 1)

    def rows_of(self, batch: IntArray) -> IntArray:
        """Rows in each batch (from 1); 0 for batch 0."""
        return np.where(batch == 0, 0, np.minimum(self.batch_size, self.rows - (batch - 1) * self.batch_size))

    def rows_so_far(self, batch: IntArray) -> IntArray:
        """Rows of the epoch met up to and with each batch."""
        return np.minimum(batch * self.batch_size, self.rows)


def plan_batches(descent: Descent, rows: int) -> BatchPlan:
    """The plan of a descent over `rows` rows. A `batch_size` above `rows` is all rows, as in Keras."""
    size = rows if descent.batch_size is None else min(descent.batch_size, rows)
    steps_per_epoch = rows // size if descent.drop_last else -(-rows // size)
    total = descent.epochs * steps_per_epoch
    if descent.max_steps is not None:
        total = min(total, descent.max_steps)
    return BatchPlan(rows, size, steps_per_epoch, total, descent.shuffle, descent.seed)
