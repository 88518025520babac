"""Least squares by Cholesky of the Gram matrix about the columns' means, at the speed of BLAS.

The solution is refined by passes over the rows, x += (A'A)^-1 (A'(y - A x) - penalty x) with y - A x in doubled
precision; the error |A dx| shrinks by about m eps cond(A'A) a pass, which with the last correction bounds it. Only up
to `MOST_CONDITION`, so that standard errors from the inverse as it is keep 13 digits.
"""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.reference.columns import RawColumns
from service.fitting.reference.double_double import Pair, add, two_product
from service.fitting.reference.gram_factor import LARGEST_SQUARE, LEAST_SQUARE, GramFactor, factor_gram
from service.fitting.reference.kernels import Kernels
from service.fitting.reference.passes import residuals_and_gradient, shared
from service.fitting.reference.shift import Shift
from service.fitting.reference.solved import EPSILON, Solved, doubt, largest_terms, lengths_of, rank_tolerance, settled

#: Of A'A, its columns brought to length 1, in the 1-norm.
MOST_CONDITION = 250.0
#: Numbers a block of the Gram matrix: enough for BLAS to run at full speed, few enough to need little memory.
GRAM_NUMBERS, FEWEST_GRAM_ROWS = 200_000, 1024
#: Beyond this, the mean of a column hides its spread from a gradient that is rounded to float64.
LARGEST_SHIFT = 1e5
MOST_PASSES = 8
_HALF_UNIT = 2.0**-54


def solve_centred(columns: RawColumns, kernels: Kernels) -> Solved | None:
    """See the module. None where the condition number, or a number's size, asks for another way."""
    centred = _centred(columns, kernels)
    if centred is None:
        return None
    refined = _refined(columns, kernels, centred)
    if refined is None:
        return None
    parameters, error, residuals = refined
    m = len(centred.lengths)
    return Solved(
        method="cholesky_refined",
        parameters=parameters,
        error=error,
        residuals=residuals,
        triangle=centred.shift.triangle(centred.factor.triangle / centred.factor.scale),
        rank=m,
        rank_tolerance=rank_tolerance(len(residuals), m),
        identified=np.ones(m, dtype=np.bool_),
        null_space=np.empty((m, 0)),
        inverse=lambda: centred.inverse,
    )


@dataclass(frozen=True, eq=False)
class _Centred:
    """The factor about the means, a first solution, and what bounds its error.

    `start` (m, q) and `inverse` (m, m) are in the columns' units; `lengths` (m,) are at least the columns', and
    `contraction` at least what a pass leaves of the error |A dx|.
    """

    shift: Shift
    factor: GramFactor
    start: Pair
    inverse: FloatArray
    lengths: FloatArray
    contraction: float

    def correction(self, gradient: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(dx, |A dx|) for a gradient (m, q): (m, q) and (q,)."""
        shifted = self.shift.gradient(gradient)
        step = self.factor.solve(shifted)
        movement = np.sqrt(np.maximum((step * shifted).sum(axis=0), 0.0))
        return self.shift.parameters(step), movement


def _centred(columns: RawColumns, kernels: Kernels) -> _Centred | None:
    shift = Shift.of(columns)
    m = len(columns.exponents)
    moments = _shifted_gram(columns, shift, kernels)
    squares = moments.diagonal()[m:]
    if not np.all((squares == 0.0) | ((squares > LEAST_SQUARE) & (squares < LARGEST_SQUARE))):
        return None
    normal = moments[:m, :m]
    lengths = np.sqrt(normal.diagonal())
    if columns.penalties is not None:
        normal[np.diag_indices(m)] += columns.penalties
    factor = factor_gram(normal, MOST_CONDITION)
    if factor is None:
        return None
    hidden = np.zeros(m)
    hidden[m - len(shift.centre) :] = np.abs(shift.centre) * np.sqrt(len(columns.features))
    ratio = float((hidden / np.sqrt(normal.diagonal())).max())
    if ratio > LARGEST_SHIFT:
        return None
    return _Centred(
        shift=shift,
        factor=factor,
        start=shift.start(factor.solve(moments[:m, m:])),
        inverse=shift.inverse(factor.inverse()),
        lengths=lengths + hidden,
        contraction=min(64.0 * EPSILON * (m * factor.condition + ratio), 1.0),
    )


def _shifted_gram(columns: RawColumns, shift: Shift, kernels: Kernels) -> FloatArray:
    """[A_s Y_s]'[A_s Y_s] (m + q, m + q), block by block."""
    features, targets = columns.features, columns.targets.high
    ones, p = int(columns.ones), features.shape[1]
    size = ones + p + targets.shape[1]
    rows = max(GRAM_NUMBERS // size, FEWEST_GRAM_ROWS)

    def work(begin: int, end: int) -> FloatArray:
        buffer = np.empty((min(end - begin, rows), size), order="F")
        buffer[:, :ones] = 1.0
        total = np.zeros((size, size))
        for first in range(begin, end, rows):
            last = min(first + rows, end)
            part = buffer[: last - first]
            np.subtract(features[first:last], shift.centre, out=part[:, ones : ones + p])
            np.subtract(targets[first:last], shift.targets, out=part[:, ones + p :])
            total += part.T @ part
        return total

    first, *others = shared(columns, kernels, work)
    return sum(others, start=first)


def _refined(columns: RawColumns, kernels: Kernels, centred: _Centred) -> tuple[Pair, FloatArray, FloatArray] | None:
    """Parameters, their error bound and residuals; None where passes do not bring what they should."""
    parameters = centred.start
    unit = np.sqrt(centred.inverse.diagonal())[:, None]
    targets, penalties = lengths_of(columns.targets.high), columns.penalties
    before = np.inf
    for _ in range(MOST_PASSES):
        residuals, gradient = residuals_and_gradient(columns, kernels, parameters)
        step, movement = centred.correction(_slope(gradient, penalties, parameters))
        parameters = add(parameters, step)
        floor = doubt(centred.inverse, largest_terms(centred.lengths, targets, parameters, penalties))
        error = centred.contraction * movement * unit + floor
        if _is_sure(parameters, error, floor) and _is_still(
            residuals, movement, unit, floor, columns.penalties is None
        ):
            return *settled(parameters, error, floor), residuals
        if not movement.max() < before:
            return None
        before = 0.5 * movement.max()
    return None


def _slope(gradient: Pair, penalties: FloatArray | None, parameters: Pair) -> FloatArray:
    """A'(y - A x) - penalty x, rounded once."""
    if penalties is None:
        return gradient.rounded
    product, error = two_product(penalties[:, None], parameters.high)
    error = error + penalties[:, None] * parameters.low
    slope: FloatArray = (gradient.high - product) + (gradient.low - error)
    return slope


def _is_sure(parameters: Pair, error: FloatArray, floor: FloatArray) -> bool:
    """Whether parameters are right to the last bit, or cannot be told from 0."""
    size = np.abs(parameters.high)
    return bool(((error <= _HALF_UNIT * size) | (size <= 4.0 * floor)).all())


def _is_still(
    residuals: FloatArray, movement: FloatArray, unit: FloatArray, floor: FloatArray, at_minimum: bool
) -> bool:
    """Whether residuals, of before the last step, are as good as those after it.

    At the minimum of their squares, a step changes the sum by the square of its length; elsewhere by the length.
    """
    smallest = (1e-14 if at_minimum else _HALF_UNIT) * lengths_of(residuals)
    return bool((movement <= np.maximum(smallest, (floor / unit).max(axis=0))).all())
