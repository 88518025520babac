"""The rows of a problem as descents see them: in descent's units and the working precision, block by block or whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray, WorkingArray
from service.fitting.descent.plan import BatchPlan
from service.fitting.problem import Problem
from service.fitting.reference.columns import block_rows
from service.fitting.reference.design import Design


@dataclass(frozen=True, eq=False)
class WorkingRows:
    """A (n, m) and Y (n, q), their rows multiplied by the root of the row's weight.

    Plain squares are weighted ones then; a batch's loss is still divided by its rows. Units and weights are put in
    float64, before the one rounding to `dtype`.
    """

    problem: Problem
    dtype: np.dtype[np.floating[Any]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """n, m and q."""
        model = self.problem.model
        return self.problem.dataset.rows, len(model.terms), len(model.targets)

    @cached_property
    def block_rows(self) -> int:
        """Rows of a block that a second-level cache holds."""
        _, m, q = self.shape
        return block_rows(m + q)

    def block(self, first: int, last: int) -> tuple[WorkingArray, WorkingArray]:
        """Rows first .. last - 1 of A and of Y, column after column."""
        _, m, q = self.shape
        design, targets = (np.empty((last - first, columns), self.dtype, order="F") for columns in (m, q))
        self._fill(design, targets, first)
        return design, targets

    def batches(
        self, plan: BatchPlan, first: int, last: int, most_rows: int
    ) -> Iterator[tuple[slice, WorkingArray, WorkingArray]]:
        """Batches first .. last - 1 of the plan, or parts of one, with their rows of A and of Y, as in `block`.

        As many at once as have one length and fit into `most_rows`.
        """
        size, whole = plan.batch_size, min(plan.rows // plan.batch_size, last)
        together = max(most_rows // size, 1)
        stops = [*range(first, whole, together), whole, *range(whole + 1, last + 1)]
        for batch, stop in pairwise(stops):
            end = min(stop * size, plan.rows)
            for begin in range(batch * size, end, most_rows):
                yield slice(batch, stop), *self.block(begin, min(begin + most_rows, end))

    @cached_property
    def design(self) -> WorkingArray:
        """All of A, C-contiguous."""
        return self._whole[0]

    @cached_property
    def targets(self) -> WorkingArray:
        """All of Y, C-contiguous."""
        return self._whole[1]

    @cached_property
    def _whole(self) -> tuple[WorkingArray, WorkingArray]:
        n, m, q = self.shape
        design, targets = (np.empty((n, columns), self.dtype) for columns in (m, q))
        for first in range(0, n, self.block_rows):
            last = first + self.block_rows
            self._fill(design[first:last], targets[first:last], first)
        return design, targets

    def _fill(self, design: WorkingArray, targets: WorkingArray, first: int) -> None:
        """Write as many rows as there are places, from `first` on."""
        problem, last = self.problem, first + len(design)
        intercept = int(problem.model.intercept)
        roots = None if problem.weights is None else np.sqrt(problem.weights[first:last])[:, None]
        design[:, :intercept] = 1.0 if roots is None else roots
        design[:, intercept:] = _times(self._features(first, last), roots)
        y = problem.y[first:last]
        targets[:] = _times(y if problem.scaling.targets == "none" else problem.units.targets.apply(y), roots)

    def _features(self, first: int, last: int) -> FloatArray:
        problem, degree = self.problem, self.problem.model.degree
        x = problem.features[first:last]
        powers = x if degree == 1 else Design(x, intercept=False, degree=degree).plain()
        return powers if problem.scaling.features == "none" else problem.units.features.apply(powers)


def _times(values: FloatArray, roots: FloatArray | None) -> FloatArray:
    return values if roots is None else values * roots
