"""Scaling of features and targets: x~ = (x - c) / d, with scikit-learn's definitions of c and d.

``standard``: c the mean, d the population standard deviation (`StandardScaler`). ``minmax``: c the least value, d
the range (`MinMaxScaler` to [0, 1]). ``maxabs``: c = 0, d the largest size (`MaxAbsScaler`). ``robust``: c the median,
d the distance of the quartiles, interpolated (`RobustScaler`). A column without spread gets d = 1, as there; one with
a spread below 10 epsilon, which scikit-learn takes for none, is scaled here like any other.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.fitting.arrays import FloatArray

ScalingKind = Literal["none", "standard", "minmax", "maxabs", "robust"]

#: Those that move a column's zero, which only a model with an intercept can take up.
CENTRING: tuple[ScalingKind, ...] = ("standard", "minmax", "robust")

#: Numbers that are measured at once: whatever is worked out on the way is no larger.
_BLOCK_NUMBERS = 1 << 18


@dataclass(frozen=True)
class Scaling:
    """What is asked for: one kind for all features, one for all targets."""

    features: ScalingKind = "none"
    targets: ScalingKind = "none"

    @property
    def is_none(self) -> bool:
        return self.features == "none" and self.targets == "none"


@dataclass(frozen=True, eq=False)
class Scale:
    """Centre (k,) and spread (k,) of k columns."""

    centre: FloatArray
    spread: FloatArray

    def apply(self, values: FloatArray) -> FloatArray:
        """(n, k) in the user's units to (n, k) scaled."""
        return (values - self.centre) / self.spread


def measure(kind: ScalingKind, values: FloatArray, degree: int = 1) -> Scale:
    """The scale of each column of `values` (n, k), and of each column's powers 1 .. degree, ordered by power."""
    columns = values.shape[1]
    if kind == "none" or columns == 0:
        return Scale(np.zeros(columns * degree), np.ones(columns * degree))
    width = max(_BLOCK_NUMBERS // len(values), 1)
    scales = [
        _measure(kind, values[:, first : first + width] ** power)
        for power in range(1, degree + 1)
        for first in range(0, columns, width)
    ]
    return Scale(np.concatenate([s.centre for s in scales]), np.concatenate([s.spread for s in scales]))


def _measure(kind: ScalingKind, values: FloatArray) -> Scale:
    match kind:
        case "standard":
            return _mean_and_deviation(values)
        case "maxabs":
            size = np.abs(values).max(axis=0)
            return Scale(np.zeros_like(size), _or_one(size))
        case "robust":
            return _median_and_quartiles(values)
        case _:
            low = values.min(axis=0)
            return Scale(low, _spread(values, values.max(axis=0) - low))


def _mean_and_deviation(values: FloatArray) -> Scale:
    # Sums and squares of large or small values leave float64: they are taken near 1, by powers of two, which round
    # nothing.
    _, exponents = np.frexp(np.abs(values).max(axis=0))
    near = np.ldexp(values, -exponents)
    return Scale(np.ldexp(_mean(near), exponents), _spread(values, np.ldexp(near.std(axis=0), exponents)))


def _median_and_quartiles(values: FloatArray) -> Scale:
    # The two middle numbers are added on the way to the median, which leaves float64 next to its end. Otherwise the
    # values stay as they are: robust is for columns whose largest number says nothing about the others.
    _, exponents = np.frexp(np.abs(values).max(axis=0))
    down = np.where(exponents < np.finfo(np.float64).maxexp, 0, 2)
    near = np.ldexp(values, -down)
    low, high = np.percentile(near, (25.0, 75.0), axis=0)
    return Scale(np.ldexp(np.median(near, axis=0), down), _or_one(np.ldexp(high - low, down)))


def _mean(values: FloatArray) -> FloatArray:
    # The second pass takes back what rounding left in the first, which matters where the mean dwarfs the spread.
    mean = values.mean(axis=0)
    corrected: FloatArray = mean + (values - mean).mean(axis=0)
    return corrected


def _spread(values: FloatArray, spread: FloatArray) -> FloatArray:
    # A constant column's computed deviation is rounding noise, not 0: look at the values instead.
    constant = (values == values[0]).all(axis=0)
    return np.where(constant, 1.0, _or_one(spread))


def _or_one(spread: FloatArray) -> FloatArray:
    return np.where(spread == 0.0, 1.0, spread)


@dataclass(frozen=True, eq=False)
class Units:
    """The way between descent's units and the user's.

    With x~ = (x - c) / d and y~ = (y - e) / f: W = diag(1/d) W~ diag(f), b = e + f b~ - c'W.
    Parameters are (.., m, q) with the intercept's row first; without an intercept both centres must be 0.
    """

    features: Scale
    targets: Scale
    intercept: bool

    def to_user(self, scaled: FloatArray) -> FloatArray:
        """Parameters in descent's units to the user's; any leading axes are kept."""
        ratio = self.targets.spread / self.features.spread[:, None]
        if not self.intercept:
            return scaled * ratio
        weights = scaled[..., 1:, :] * ratio
        base = self.targets.centre + self.targets.spread * scaled[..., 0, :]
        return _stack(base - self.features.centre @ weights, weights)

    def to_scaled(self, user: FloatArray) -> FloatArray:
        """The inverse of `to_user`."""
        ratio = self.features.spread[:, None] / self.targets.spread
        if not self.intercept:
            return user * ratio
        weights = user[..., 1:, :]
        base = user[..., 0, :] + self.features.centre @ weights
        return _stack((base - self.targets.centre) / self.targets.spread, weights * ratio)


def _stack(intercept: FloatArray, weights: FloatArray) -> FloatArray:
    return np.concatenate([intercept[..., None, :], weights], axis=-2)
