"""An optimum in other descent's units: the same answer by the design A T for a small T, so nothing is solved again."""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import References
from service.fitting.descent.account import Optimum
from service.fitting.descent.working_rows import WorkingRows
from service.fitting.problem import Problem
from service.fitting.scaling import Units

#: What may be left of a column's size where columns that nearly cancel are added: R T keeps 12 digits then.
_LEAST_LEFT = 1e-4


def rescaled(optimum: Optimum, found: References, units: Units, problem: Problem) -> Optimum:
    """The optimum, which is in `units`, of `problem`, which differs in its scaling alone and has no penalty.

    Where the data do not determine it, it is the one of least norm in its own units, as that of `least_squares` is.
    """
    triangle = _triangle(optimum.triangle, _between(units, problem.units), problem)
    scaled = problem.units.to_scaled(found.original.parameters)
    squares = found.original.target_squares / np.square(problem.units.targets.spread)
    return Optimum(
        parameters=optimum.parameters,
        least=optimum.least,
        scaled=scaled if found.original.is_full_rank else _in_row_space(triangle, found.original.rank, scaled),
        scaled_least=float(squares.sum()) / problem.divisor,
        triangle=triangle,
    )


def _between(units: Units, others: Units) -> FloatArray:
    """(m, m) T, with which A T is the design in other units, A being that in these."""
    own, other = units.features, others.features
    stretch = np.diag(own.spread / other.spread)
    if not units.intercept:
        return stretch
    shift = (own.centre - other.centre) / other.spread
    return np.block([[np.ones((1, 1)), shift[None]], [np.zeros((len(shift), 1)), stretch]])


def _triangle(triangle: FloatArray, between: FloatArray, problem: Problem) -> FloatArray:
    image = triangle @ between
    left, terms = np.linalg.norm(image, axis=0), np.linalg.norm(np.abs(triangle) @ np.abs(between), axis=0)
    # What leaves float64 on the way compares as False.
    return _reduced(image) if (left >= _LEAST_LEFT * terms).all() else _triangle_of_rows(problem)


def _triangle_of_rows(problem: Problem) -> FloatArray:
    """The R of the design's QR, block by block."""
    rows = WorkingRows(problem, np.dtype(np.float64))
    triangle = np.empty((0, rows.shape[1]))
    for first in range(0, rows.shape[0], rows.block_rows):
        block, _ = rows.block(first, min(first + rows.block_rows, rows.shape[0]))
        triangle = _reduced(np.vstack([triangle, block]))
    return triangle


def _reduced(rows: FloatArray) -> FloatArray:
    """The R of rows (n, m)."""
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _in_row_space(triangle: FloatArray, rank: int, parameters: FloatArray) -> FloatArray:
    """The part of parameters (m, q) that is orthogonal to all that the triangle maps to 0."""
    _, _, rows = np.linalg.svd(triangle)
    basis = rows[:rank]
    part: FloatArray = basis.T @ (basis @ parameters)
    return part
