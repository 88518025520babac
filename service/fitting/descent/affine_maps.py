"""Affine maps z -> M z + v in doubled precision, one after the other and raised to powers.

A map is kept as the pair of matrices [M v] (k, k + q). Raising it to the power 2^j multiplies what is wrong with it by
2^j: of the 31 digits of doubled precision, 10^12 leave 19. All sums run in an order that depends on the sizes of the
matrices alone.
"""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.reference.double_double import Pair, multiply, normalised, two_sum

#: Products that are held at once.
_PASS_NUMBERS = 1 << 18


def plus(left: Pair, right: Pair) -> Pair:
    """left + right."""
    high, error = two_sum(left.high, right.high)
    return normalised(high, error + (left.low + right.low))


def part(pair: Pair, *place: "slice | int | None") -> Pair:
    """pair[.., place]."""
    return Pair(pair.high[..., *place], pair.low[..., *place])


def joined(*pairs: Pair, axis: int) -> Pair:
    """Pairs side by side along an axis."""
    high, low = (np.concatenate(halves, axis=axis) for halves in zip(*pairs, strict=True))
    return Pair(high, low)


def total(terms: Pair) -> Pair:
    """Sums over the last axis but one, pairwise."""
    while (count := terms.high.shape[-2]) > 1:
        half = count // 2
        added = plus(part(terms, slice(half), slice(None)), part(terms, slice(half, 2 * half), slice(None)))
        left = part(terms, slice(2 * half, None), slice(None))
        terms = joined(added, left, axis=-2) if count % 2 else added
    return part(terms, 0, slice(None))


def times(left: Pair, right: Pair) -> Pair:
    """Products of matrices, (.., k, i) and (.., i, l), some rows at a time."""
    k, i = left.high.shape[-2:]
    numbers = left.high[..., 0].size // k * i * right.high.shape[-1]
    size = max(_PASS_NUMBERS // max(numbers, 1), 1)
    factor = part(right, None, slice(None), slice(None))
    rows = [
        total(multiply(part(left, slice(first, first + size), slice(None), None), factor))
        for first in range(0, k, size)
    ]
    return rows[0] if len(rows) == 1 else joined(*rows, axis=-2)


def after(second: Pair, first: Pair) -> Pair:
    """The map that is `first` and then `second`; leading axes count maps."""
    k = second.high.shape[-2]
    both = times(part(second, slice(k)), first)
    shift = plus(part(both, slice(k, None)), part(second, slice(k, None)))
    return joined(part(both, slice(k)), shift, axis=-1)


def in_turn(maps: Pair) -> Pair:
    """All maps (b, k, k + q) as one, the first one first."""
    while (count := len(maps.high)) > 1:
        even = count // 2 * 2
        first, second = (Pair(*(half[start:even:2] for half in maps)) for start in (0, 1))
        maps = joined(after(second, first), Pair(*(half[even:] for half in maps)), axis=0)
    return Pair(*(half[0] for half in maps))


class Powers:
    """A map raised to the powers 1, 2, 4, .., each made when it is first asked for."""

    def __init__(self, once: Pair) -> None:
        self._last = once
        self._rounded = [once.rounded]

    def __getitem__(self, exponent: int) -> FloatArray:
        """The power 2^exponent, rounded."""
        while len(self._rounded) <= exponent:
            self._last = after(self._last, self._last)
            self._rounded.append(self._last.rounded)
        return self._rounded[exponent]


def apply(map_: FloatArray, z: FloatArray) -> FloatArray:
    """[M v] (l, k + q) of z (k, q, r): (l, q, r), each of the r by the same operations, however many they are."""
    k = len(z)
    moved = map_[:, 0, None, None] * z[0]
    for i in range(1, k):
        moved = moved + map_[:, i, None, None] * z[i]
    out: FloatArray = moved + map_[:, k:, None]
    return out
