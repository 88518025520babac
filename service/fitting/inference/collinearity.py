"""How far the columns of a design explain each other (Belsley, Kuh and Welsch 1980, chapter 3)."""

from collections.abc import Sequence

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.inference.sums import counted_weights
from service.fitting.inference.tables import Collinearity
from service.fitting.inference.whitening import BLOCK_ROWS, Whitening, equilibrated, scaled_columns
from service.fitting.reference.design import Design
from service.fitting.reference.equilibration import scaled_by
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import LeastSquares


@np.errstate(all="ignore")
def collinearity(solution: LeastSquares, terms: Sequence[str], kernels: Kernels = PLAIN) -> Collinearity:
    """Of a solution without penalties, its weights inside all sums.

    The singular values are those of the columns brought to length 1, the intercept among them and nothing centred.
    """
    indices, proportions = conditioning(solution)
    return Collinearity(
        terms=tuple(terms),
        variance_inflation=tuple(_inflation(solution, kernels).tolist()),
        condition_indices=tuple(indices.tolist()),
        variance_proportions=tuple(map(tuple, proportions.tolist())),
    )


def conditioning(solution: LeastSquares) -> tuple[FloatArray, FloatArray]:
    """Condition indices (m,), NaN beyond the rank, and variance proportions (m, m), a row for each index.

    Those of a column that is not identified are NaN.
    """
    triangle, _, _ = equilibrated(solution)
    lengths = np.sqrt(np.square(triangle).sum(axis=0))
    _, singular, directions = np.linalg.svd(triangle / np.where(lengths > 0.0, lengths, 1.0))
    columns, rank = len(lengths), solution.rank
    indices, proportions = np.full(columns, np.nan), np.zeros((columns, columns))
    indices[:rank] = singular[0] / singular[:rank]
    proportions[:rank] = np.square(directions[:rank] / singular[:rank, None])
    proportions /= proportions.sum(axis=0)
    proportions[:, ~solution.identified] = np.nan
    return indices, proportions


def _inflation(solution: LeastSquares, kernels: Kernels) -> FloatArray:
    """1 / (1 - R_j^2) = (A'SA)^-1_jj times column j's sum of squares, about its mean where there is an intercept."""
    design = solution.design
    if not solution.is_full_rank:
        return np.full(design.columns, np.nan)
    whitening = Whitening.of(solution, kernels)
    inflation = whitening.variances * _column_squares(design, whitening)
    inflation[: int(design.intercept)] = np.nan
    return np.maximum(inflation, 1.0)


def _column_squares(design: Design, whitening: Whitening) -> FloatArray:
    """(m,) weighted sums of squares, divided by 4^exponents: in two passes about the columns' means, or about 0."""
    rows, weights, root_exponent = counted_weights(design)
    exponents = whitening.exponents - root_exponent
    parts = [slice(first, first + BLOCK_ROWS) for first in range(0, len(rows), BLOCK_ROWS)]

    def columns(part: slice) -> FloatArray:
        block = Design(design.features[rows[part]], design.intercept, design.degree)
        # Powers that leave float64 are only seen with their exponents taken out.
        if whitening.doubled is None:
            return scaled_by(block.plain(), -exponents)
        return scaled_columns(block, exponents).rounded

    centre: FloatArray = np.zeros(design.columns)
    if design.intercept:
        centre = np.sum([weights[part] @ columns(part) for part in parts], axis=0) / weights.sum()
    squares = [weights[part] @ np.square(columns(part) - centre) for part in parts]
    return np.asarray(np.sum(squares, axis=0))
