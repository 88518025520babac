"""The design A = [1 X X^2 ..] of a least-squares problem, known by its parts."""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Design:
    """The left side of: minimise sum_i s_i |a_i W - y_i|^2 + sum_j penalty_j |w_j|^2.

    Attributes
    ----------
    features
        (n, p) finite, in the user's units, not copied.
    intercept
        Whether a column of ones stands before them.
    degree
        Powers 1 .. degree of every feature, ordered by power; their columns carry their low-order halves.
    weights
        (n,) >= 0, some above 0; None is all 1.
    penalties
        (m,) >= 0; None is none.
    """

    features: FloatArray
    intercept: bool = True
    degree: int = 1
    weights: FloatArray | None = None
    penalties: FloatArray | None = None

    @property
    def rows(self) -> int:
        """n."""
        return len(self.features)

    @property
    def columns(self) -> int:
        """m, the intercept included."""
        return int(self.features.shape[1]) * self.degree + int(self.intercept)

    def plain(self, first: int = 0, last: int | None = None) -> FloatArray:
        """Rows first .. last - 1 of A as float64 (b, m), unweighted, powers rounded once."""
        x = self.features[first:last]
        powers = [x**power for power in range(1, self.degree + 1)]
        ones = [np.ones((len(x), 1))] if self.intercept else []
        return np.hstack([*ones, *powers])
