"""A design as the loops over rows want it: in columns, block by block, in units near 1 where that is needed.

`RawColumns` are the user's own numbers, untouched and not copied: only for designs without weights and powers, and of
moderate size. `DoubledColumns` are brought near 1 by powers of two, which rounds nothing, and carry low-order halves of
powers and of square roots of weights. Either way the problem is min |B V - Z|^2 + sum_j penalty_j |v_j|^2, and V
leads back to the user's parameters by powers of two.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.reference.design import Design
from service.fitting.reference.double_double import Pair, multiply, square_root, two_product
from service.fitting.reference.equilibration import column_exponents, scaled_by
from service.fitting.reference.kernels import Block

#: Numbers a block: few enough for a second-level cache, many enough that calls do not count.
BLOCK_NUMBERS = 100_000
_FEWEST_ROWS, _MOST_ROWS = 256, 8192


def block_rows(columns: int) -> int:
    """Rows a block of so many columns."""
    return min(max(BLOCK_NUMBERS // max(columns, 1), _FEWEST_ROWS), _MOST_ROWS)


class Columns(Protocol):
    """B (n, m) and Z (n, q).

    `exponents` (m,) and `target_exponents` (q,) lead back: W_jk = V_jk 2^(target_exponents_k - exponents_j). Rows stand
    multiplied by the square roots of their weights, 2^-root_exponent times.
    """

    @property
    def targets(self) -> Pair: ...
    @property
    def exponents(self) -> FloatArray: ...
    @property
    def target_exponents(self) -> FloatArray: ...
    @property
    def penalties(self) -> FloatArray | None: ...
    @property
    def root_exponent(self) -> int: ...

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """Rows first .. last - 1 of B, a `Block` after the other."""


@dataclass(frozen=True, eq=False)
class RawColumns:
    """The columns as they are; see the module."""

    features: FloatArray
    ones: bool
    targets: Pair
    penalties: FloatArray | None
    root_exponent: int = 0

    @classmethod
    def of(cls, design: Design, y: FloatArray) -> "RawColumns":
        """Features are copied only where they do not lie column after column."""
        return cls(np.asfortranarray(design.features), design.intercept, Pair.of(y), design.penalties)

    @property
    def exponents(self) -> FloatArray:
        """All 0."""
        return np.zeros(self.features.shape[1] + int(self.ones))

    @property
    def target_exponents(self) -> FloatArray:
        """All 0."""
        return np.zeros(self.targets.high.shape[1])

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """See `Columns`."""
        size = block_rows(self.features.shape[1])
        for start in range(first, last, size):
            yield Block(self.features, None, start, min(size, last - start), self.ones)


@dataclass(frozen=True, eq=False)
class DoubledColumns:
    """Columns near 1, held whole, in pairs; see the module. Rows of weight 0 are left out.

    `low` is None where all columns are exact. `root_exponent`: rows were multiplied by sqrt(weight) 2^-root_exponent.
    """

    columns: FloatArray
    low: FloatArray | None
    targets: Pair
    exponents: FloatArray
    target_exponents: FloatArray
    penalties: FloatArray | None
    root_exponent: int

    @classmethod
    def of(cls, design: Design, y: FloatArray) -> "DoubledColumns":
        """Bring a problem near 1."""
        features, weights = design.features, design.weights
        if weights is not None and not weights.all():
            kept = weights > 0.0
            features, weights, y = features[kept], weights[kept], y[kept]
        target_exponents = column_exponents(y)
        columns, exponents = _powers(features, design.degree, design.intercept)
        targets = Pair.of(scaled_by(y, -target_exponents))
        penalties, root_exponent = design.penalties, 0
        if weights is not None:
            root_exponent = _root_exponent(weights)
            roots = square_root(np.ldexp(weights, -2 * root_exponent))
            column = Pair(roots.high[:, None], roots.low[:, None])
            columns, targets = multiply(columns, column), multiply(targets, column)
        if penalties is not None:
            penalties, shrink = _scaled_penalties(penalties, exponents + root_exponent)
            columns = Pair(scaled_by(columns.high, -shrink), scaled_by(columns.low, -shrink))
            exponents = exponents + shrink
        exact = design.degree == 1 and weights is None
        return cls(
            np.asfortranarray(columns.high),
            None if exact else np.asfortranarray(columns.low),
            Pair(np.asfortranarray(targets.high), np.asfortranarray(targets.low)),
            exponents,
            target_exponents,
            penalties,
            root_exponent,
        )

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """See `Columns`."""
        size = block_rows(self.columns.shape[1])
        for start in range(first, last, size):
            yield Block(self.columns, self.low, start, min(size, last - start))


def _powers(features: FloatArray, degree: int, intercept: bool) -> tuple[Pair, FloatArray]:
    """[1 X X^2 ..] in pairs with every column near 1, and the exponents (m,) that were taken out."""
    base_exponents = column_exponents(features)
    base = Pair.of(scaled_by(features, -base_exponents))
    powers, exponents = [base], [base_exponents]
    for power in range(2, degree + 1):
        last = powers[-1]
        powers.append(Pair(*two_product(base.high, base.high)) if power == 2 else multiply(last, base))
        exponents.append(power * base_exponents)
    if intercept:
        powers.insert(0, Pair.of(np.ones((len(features), 1))))
        exponents.insert(0, np.zeros(1))
    columns = Pair(*(np.hstack(halves) for halves in zip(*powers, strict=True)))
    # High powers of numbers below 1 are small again.
    again = column_exponents(columns.high)
    columns = Pair(scaled_by(columns.high, -again), scaled_by(columns.low, -again))
    return columns, np.concatenate(exponents) + again


def _root_exponent(weights: FloatArray) -> int:
    _, exponent = np.frexp(weights.max())
    return int(exponent) // 2


def _scaled_penalties(penalties: FloatArray, exponents: FloatArray) -> tuple[FloatArray, FloatArray]:
    """penalties 2^(-2 exponents), and by what columns must shrink besides (m,) so that none is above 1."""
    mantissa, exponent = np.frexp(penalties)
    left = exponent - 2.0 * exponents
    shrink = np.where(penalties > 0.0, np.maximum(np.ceil(left / 2.0), 0.0), 0.0)
    return scaled_by(mantissa, left - 2.0 * shrink), shrink
