"""Least squares by Cholesky of a Gram matrix that is known in doubled precision.

One pass over the rows forms B'B and B'Z in about 106 bits; solution and inverse are then refined on them, at no cost in
rows: up to `MOST_CONDITION` they are as right as float64 can say.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from service.fitting.arrays import FloatArray
from service.fitting.reference.columns import DoubledColumns
from service.fitting.reference.double_double import Pair, add
from service.fitting.reference.gram_factor import GramFactor, factor_gram
from service.fitting.reference.kernels import Block, Kernels
from service.fitting.reference.passes import gram, residuals_only
from service.fitting.reference.solved import EPSILON, Solved, doubt, largest_terms, lengths_of, rank_tolerance, settled

#: Of B'B, its columns brought to length 1, in the 1-norm.
MOST_CONDITION = 1e11
MOST_REFINEMENTS = 10


def solve_doubled(columns: DoubledColumns, kernels: Kernels) -> Solved | None:
    """See the module. None where the condition number asks for another way."""
    normal, right = gram(columns, kernels)
    lengths = np.sqrt(normal.high.diagonal())
    if columns.penalties is not None:
        normal = add(normal, np.diag(columns.penalties))
    factor = factor_gram(normal.high, MOST_CONDITION)
    if factor is None:
        return None
    refinement = _Refinement(normal, factor.inverse(), kernels)
    solution, inverse = refinement.solve(right), refinement.solve(Pair.of(np.asfortranarray(np.eye(len(right.high)))))
    if solution is None or inverse is None:
        return None
    parameters, left_over = solution
    m = len(lengths)
    floor = doubt(
        inverse[0].high, largest_terms(lengths, lengths_of(columns.targets.high), parameters, columns.penalties)
    )
    parameters, error = settled(parameters, 4.0 * np.abs(left_over) + floor, floor)
    return Solved(
        method="cholesky_doubled_refined",
        parameters=parameters,
        error=error,
        residuals=residuals_only(columns, kernels, parameters),
        triangle=_triangle(normal, factor, kernels),
        rank=m,
        rank_tolerance=rank_tolerance(len(columns.columns), m),
        identified=np.ones(m, dtype=np.bool_),
        null_space=np.empty((m, 0)),
        inverse=inverse[0].rounded.copy,
    )


@dataclass(frozen=True, eq=False)
class _Refinement:
    """Solves with a matrix (m, m) that is known in doubled precision, from an approximate inverse."""

    matrix: Pair
    approximate: FloatArray
    kernels: Kernels

    def solve(self, right: Pair) -> tuple[Pair, FloatArray] | None:
        """matrix^-1 right (m, k) as a pair, and the correction it asks for (m, k); None if it does not converge."""
        solution = Pair.of(np.asfortranarray(self.approximate @ right.high))
        smallest = np.full(right.high.shape[1], np.inf)
        for _ in range(MOST_REFINEMENTS):
            step, movement = self._step(right, solution)
            shrinks = movement < 0.5 * smallest
            if not shrinks.any():
                break
            solution = add(solution, np.where(shrinks, step, 0.0))
            smallest = np.where(shrinks, movement, smallest)
        start = np.sqrt(np.maximum((solution.high * right.high).sum(axis=0), 0.0))
        converged = smallest <= EPSILON * start
        return (solution, step) if converged.all() else None

    def _step(self, right: Pair, solution: Pair) -> tuple[FloatArray, FloatArray]:
        left = Pair(right.high.copy(order="F"), right.low.copy(order="F"))
        block = Block(*self.matrix, 0, len(self.matrix.high))
        self.kernels.subtract_product(block, solution, left)
        step = self.approximate @ left.high
        return step, np.sqrt(np.maximum((step * left.high).sum(axis=0), 0.0))


def _triangle(normal: Pair, factor: GramFactor, kernels: Kernels) -> FloatArray:
    """R with R'R = normal to the last bits, where the factor's own is off by eps cond: chol(R^-T normal R^-1) R."""
    rough = np.asfortranarray(factor.triangle / factor.scale)
    left = Pair(normal.high.copy(order="F"), normal.low.copy(order="F"))
    kernels.subtract_product(Block(np.asfortranarray(rough.T), None, 0, len(rough)), Pair.of(rough), left)
    half = solve_triangular(rough, left.high, trans="T", check_finite=False)
    offset = solve_triangular(rough, half.T, trans="T", check_finite=False)
    triangle: FloatArray = np.linalg.cholesky(np.eye(len(rough)) + 0.5 * (offset + offset.T)).T @ rough
    return triangle
