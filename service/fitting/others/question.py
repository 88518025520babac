"""What the other programs are asked, and what is known of the answer beforehand."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Question:
    """Least squares of `targets` on `terms`, in columns of float64 as a program would get them.

    Attributes
    ----------
    terms
        (m,) the rows of the parameter matrix; the first is the intercept's where there is one.
    targets
        (q,)
    x
        (n, p) the features, p = m less the intercept; polynomial columns are columns like others, each rounded once.
    y
        (n, q)
    weights
        (n,) not negative; the squares of the residuals are weighted. None weights all rows alike.
    """

    terms: tuple[str, ...]
    targets: tuple[str, ...]
    intercept: bool
    x: FloatArray
    y: FloatArray
    weights: FloatArray | None

    @cached_property
    def design(self) -> FloatArray:
        """(n, m) [1 X], or X where there is no intercept."""
        return np.hstack([np.ones((len(self.x), 1)), self.x]) if self.intercept else self.x

    @cached_property
    def weighted_design(self) -> FloatArray:
        """(n, m) rows of the design times sqrt(weight)."""
        return self._weighted(self.design)

    @cached_property
    def weighted_targets(self) -> FloatArray:
        """(n, q) rows of the targets times sqrt(weight)."""
        return self._weighted(self.y)

    def _weighted(self, rows: FloatArray) -> FloatArray:
        return rows if self.weights is None else rows * np.sqrt(self.weights)[:, None]


@dataclass(frozen=True)
class ReferenceFacts:
    """What is known of the certified reference.

    Attributes
    ----------
    rank, parameters
        Numerical rank of the (weighted) design, and its columns m. Where the rank is short, the reference is the
        solution of least Euclidean norm, the intercept included.
    condition_number
        sigma_1 / sigma_m of the design after its columns are brought to one size; infinite where the rank is short.
    not_identified
        The terms whose coefficients the data do not determine.
    """

    rank: int
    parameters: int
    condition_number: float
    not_identified: tuple[str, ...]
