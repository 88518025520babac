"""Least squares by pivoted Householder QR, refined on the augmented system [I B; B' 0] [r; v] = [z; 0].

Residuals of both equations are in doubled precision, solution and residual carried as pairs (Björck 1967; Golub and
Van Loan, 4th ed., section 5.3.8). It converges wherever the rank is full in float64. Where it is not, the columns that
depend on others are solved for as well, which gives the null space, and the solution of least norm in the user's units.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import qr, solve_triangular

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.reference.columns import DoubledColumns, block_rows
from service.fitting.reference.double_double import Pair, add, square_root, two_sum
from service.fitting.reference.kernels import Block, Kernels, zeros
from service.fitting.reference.null_space import least_norm, undetermined
from service.fitting.reference.solved import Solved, doubt, lengths_of, rank_tolerance, settled

MOST_REFINEMENTS = 30


def solve_by_qr(columns: DoubledColumns, kernels: Kernels) -> Solved:
    """Solve whatever the rank is."""
    factors = _Factors.of(columns, kernels)
    dependent = factors.pivots[factors.rank :]
    targets = factors.targets
    spanned = Pair(
        *(np.asfortranarray(np.hstack(halves)) for halves in zip(targets, factors.part(dependent), strict=True))
    )
    answer = factors.refine(spanned)
    q = targets.high.shape[1]
    basic, error = _basic(factors, answer, q)
    null = undetermined(factors.pivots, factors.rank, _columns(answer.solution, q, None), answer.residuals[:, q:])
    if factors.rank < factors.size:
        basic, error = least_norm(basic, error, null, columns.exponents)
    return Solved(
        method="householder_qr_refined" if factors.rank == factors.size else "householder_qr_least_norm",
        parameters=basic,
        error=error,
        residuals=answer.residuals[: len(columns.columns), :q],
        triangle=factors.unpivoted_triangle,
        rank=factors.rank,
        rank_tolerance=factors.tolerance,
        identified=null.identified,
        null_space=null.basis.high,
        inverse=factors.inverse,
    )


def _basic(factors: "_Factors", answer: "_Refined", targets: int) -> tuple[Pair, FloatArray]:
    """The targets' solution with 0 for the dependent columns, (m, q), and its error bound."""
    columns = factors.pivots[: factors.rank]
    parts = _columns(answer.solution, 0, targets)
    lengths = lengths_of(factors.design.high[:, columns])
    amplitude = lengths_of(factors.targets.high) + lengths @ np.abs(parts.high)
    left = lengths_of(answer.residuals[:, :targets])
    rows = factors.rows_of_inverse
    # Rounding in y - A x reaches the solution through A's own inverse, that in A'r through the Gram matrix's.
    floor = doubt(rows, np.broadcast_to(amplitude, (len(rows), targets)))
    floor = floor + doubt(rows, np.abs(rows.T) @ (lengths[:, None] * left))
    parts, error = settled(parts, 4.0 * np.abs(answer.left_over[:, :targets]) + floor, floor)
    whole, bound = zeros(factors.size, targets), np.zeros((factors.size, targets))
    for half, part in zip(whole, parts, strict=True):
        half[columns] = part
    bound[columns] = error
    return whole, bound


def _columns(pair: Pair, first: int, last: int | None) -> Pair:
    return Pair(*(half[:, first:last] for half in pair))


@dataclass(frozen=True, eq=False)
class _Refined:
    """Solution (k, t) as pairs, residuals (n, t), and the correction (k, t) that was left over when it ended."""

    solution: Pair
    residuals: FloatArray
    left_over: FloatArray


@dataclass(frozen=True, eq=False)
class _Factors:
    """B P = Q R, the penalties' square roots standing under B and zeros under its targets."""

    design: Pair
    targets: Pair
    orthogonal: FloatArray
    triangle: FloatArray
    pivots: IntArray
    rank: int
    tolerance: float
    kernels: Kernels

    @classmethod
    def of(cls, columns: DoubledColumns, kernels: Kernels) -> "_Factors":
        """Factor the whole design."""
        design, targets = _augmented(columns)
        orthogonal, triangle, pivots = qr(design.high, mode="economic", pivoting=True, check_finite=False)
        tolerance = rank_tolerance(*design.high.shape)
        singular = np.linalg.svd(triangle, compute_uv=False)
        rank = int(np.count_nonzero(singular > tolerance * singular[0]))
        return cls(
            design,
            targets,
            np.asarray(orthogonal[:, :rank], dtype=np.float64),
            np.asarray(triangle, dtype=np.float64),
            pivots.astype(np.int64),
            rank,
            tolerance,
            kernels,
        )

    @property
    def size(self) -> int:
        """m."""
        return int(self.design.high.shape[1])

    @property
    def unpivoted_triangle(self) -> FloatArray:
        """(min(n, m), m)."""
        out = np.empty_like(self.triangle)
        out[:, self.pivots] = self.triangle
        return out

    @cached_property
    def rows_of_inverse(self) -> FloatArray:
        """(k, k) R^-1."""
        return self._solve(np.eye(self.rank))

    def part(self, columns: IntArray) -> Pair:
        """Some columns of the design."""
        return Pair(*(half[:, columns] for half in self.design))

    @cached_property
    def _basis(self) -> Block:
        high, low = (np.asfortranarray(half) for half in self.part(self.pivots[: self.rank]))
        return Block(high, low if low.any() else None, 0, len(high))

    def refine(self, right: Pair) -> _Refined:
        """Solve [I B; B' 0] [r; v] = [right; 0] for (n, t).

        Each target is refined while its corrections halve.
        """
        solution, residual = zeros(self.rank, right.high.shape[1]), zeros(*right.high.shape)
        smallest = np.full(right.high.shape[1], np.inf)
        for _ in range(MOST_REFINEMENTS):
            step, change = self._correction(right, solution, residual)
            sizes = np.abs(step).max(axis=0, initial=0.0)
            shrinks = (sizes < 0.5 * smallest) & ((sizes > 0.0) | np.isinf(smallest))
            if not shrinks.any():
                break
            solution = add(solution, np.where(shrinks, step, 0.0))
            residual = add(residual, np.where(shrinks, change, 0.0))
            smallest = np.where(shrinks, sizes, smallest)
        # What the solution still asks for is its error.
        left_over, _ = self._correction(right, solution, residual)
        return _Refined(solution, residual.rounded, left_over)

    def _correction(self, right: Pair, solution: Pair, residual: Pair) -> tuple[FloatArray, FloatArray]:
        """What to add to solution and residual."""
        high, error = two_sum(right.high, -residual.high)
        missing = Pair(np.asfortranarray(high), np.asfortranarray(error + right.low - residual.low))
        self.kernels.subtract_product(self._basis, solution, missing)
        gradient = zeros(*solution.high.shape)
        self.kernels.add_transposed_product(self._basis, residual, gradient)
        first = missing.rounded
        difference = self.orthogonal.T @ first + self._solve(gradient.rounded, transposed=True)
        return self._solve(difference), first - self.orthogonal @ difference

    def _solve(self, right: FloatArray, *, transposed: bool = False) -> FloatArray:
        if not self.rank:
            return right
        triangle = self.triangle[: self.rank, : self.rank]
        solved = solve_triangular(triangle, right, trans="T" if transposed else "N", check_finite=False)
        return np.asarray(solved, dtype=np.float64)

    def inverse(self) -> FloatArray:
        """(m, m) (B'B)^-1 of the independent columns, 0 elsewhere.

        T M^-1 T' with T the computed R^-1 and M = (B T)'(B T). M is near I, and known to the last bits where B T is
        formed in doubled precision: it makes up for what T has lost to the condition number.
        """
        rough = self.rows_of_inverse
        inner = rough @ np.linalg.solve(self._gram_of_images(Pair.of(np.asfortranarray(rough))), rough.T)
        out = np.zeros((self.size, self.size))
        columns = self.pivots[: self.rank]
        out[np.ix_(columns, columns)] = 0.5 * (inner + inner.T)
        return out

    def _gram_of_images(self, transform: Pair) -> FloatArray:
        """(B T)'(B T) (k, k), block by block."""
        total = np.zeros((self.rank, self.rank))
        size = block_rows(self.rank)
        for first in range(0, len(self._basis.columns), size):
            block = replace(self._basis, first=first, count=min(size, len(self._basis.columns) - first))
            images = zeros(block.count, self.rank)
            self.kernels.subtract_product(block, transform, images)
            total += images.high.T @ images.high
        return total


def _augmented(columns: DoubledColumns) -> tuple[Pair, Pair]:
    high = columns.columns
    design = Pair(high, np.zeros_like(high) if columns.low is None else columns.low)
    if columns.penalties is None:
        return design, columns.targets
    penalised = np.flatnonzero(columns.penalties)
    under = np.zeros((2, len(penalised), high.shape[1]))
    roots = square_root(columns.penalties[penalised])
    under[:, np.arange(len(penalised)), penalised] = roots
    nothing = np.zeros((len(penalised), columns.targets.high.shape[1]))
    return (
        Pair(*(np.asfortranarray(np.vstack(halves)) for halves in zip(design, under, strict=True))),
        Pair(*(np.asfortranarray(np.vstack([half, nothing])) for half in columns.targets)),
    )
