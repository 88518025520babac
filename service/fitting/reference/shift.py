"""A design about centres of its columns, which the intercept takes up."""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.reference.columns import RawColumns
from service.fitting.reference.double_double import Pair, two_product
from service.fitting.reference.kernels import exact_sum

#: Rows of which the means are taken.
SAMPLE_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Shift:
    """A = A_s T: columns about centres c (p,), T = [[1, c'], [0, I]]; without an intercept, T = I.

    Targets are about their own centres (q,), which are added to the intercept.
    """

    ones: bool
    centre: FloatArray
    targets: FloatArray

    @classmethod
    def of(cls, columns: RawColumns) -> "Shift":
        """About the means of a sample, evenly spread; 0 without an intercept that could take the centre up."""
        features, targets = columns.features, columns.targets.high
        if not columns.ones:
            return cls(False, np.zeros(features.shape[1]), np.zeros(targets.shape[1]))
        step = len(features) // SAMPLE_ROWS + 1
        return cls(True, _mean(features[::step]), _mean(targets[::step]))

    def start(self, shifted: FloatArray) -> Pair:
        """T^-1 shifted, for (m, q), and the targets' centres: in pairs, for the intercept may be a small difference."""
        start = Pair.of(np.asfortranarray(shifted))
        if self.ones:
            products, errors = two_product(-self.centre[:, None], shifted[1:])
            for k, centre in enumerate(self.targets.tolist()):
                terms = [centre, float(shifted[0, k]), *products[:, k].tolist(), *errors[:, k].tolist()]
                start.high[0, k], start.low[0, k] = exact_sum(terms)
        return start

    def parameters(self, shifted: FloatArray) -> FloatArray:
        """T^-1 shifted, for (m, q)."""
        if not self.ones:
            return shifted
        out = shifted.copy()
        out[0] -= self.centre @ shifted[1:]
        return out

    def gradient(self, gradient: FloatArray) -> FloatArray:
        """T^-T gradient, for (m, q)."""
        if not self.ones:
            return gradient
        out = gradient.copy()
        out[1:] -= self.centre[:, None] * gradient[0]
        return out

    def inverse(self, shifted: FloatArray) -> FloatArray:
        """T^-1 shifted T^-T, for (m, m)."""
        if not self.ones:
            return shifted
        out = shifted.copy()
        out[0] -= self.centre @ shifted[1:]
        out[:, 0] -= out[:, 1:] @ self.centre
        return out

    def triangle(self, shifted: FloatArray) -> FloatArray:
        """shifted T, for (m, m)."""
        if not self.ones:
            return shifted
        out = shifted.copy()
        out[:, 1:] += shifted[:, :1] * self.centre
        return out


def _mean(values: FloatArray) -> FloatArray:
    mean: FloatArray = np.add.reduce(values, axis=0) / len(values)
    return mean
