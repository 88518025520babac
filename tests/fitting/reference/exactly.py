"""Least squares in rational arithmetic: what the reference is held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from service.fitting.arrays import FloatArray
from service.fitting.reference.design import Design

Rows = list[list[Fraction]]


@dataclass(frozen=True)
class Exactly:
    """Parameters (m,), inverse of the normal matrix (m, m), weighted sum of squares, residuals and leverages (n,)."""

    parameters: list[Fraction]
    inverse: Rows
    squares: Fraction
    residuals: list[Fraction]
    leverages: list[Fraction]


def rational(values: Sequence[float] | FloatArray) -> list[Fraction]:
    """The numbers as they are."""
    return [Fraction(float(value)) for value in values]


def rows_of(design: Design) -> Rows:
    """A, every power exact."""
    ones = [Fraction(1)] if design.intercept else []
    powers = range(1, design.degree + 1)
    return [ones + [value**power for power in powers for value in rational(row)] for row in design.features]


def solve_exactly(design: Design, y: FloatArray) -> Exactly:
    """The minimiser for one target (n,), the design of full rank."""
    a, b = rows_of(design), rational(y)
    s = [Fraction(1)] * len(a) if design.weights is None else rational(design.weights)
    m = len(a[0])
    penalties = [Fraction(0)] * m if design.penalties is None else rational(design.penalties)
    normal = [
        [sum((w * r[i] * r[j] for w, r in zip(s, a, strict=True)), Fraction(0)) for j in range(m)] for i in range(m)
    ]
    for i in range(m):
        normal[i][i] += penalties[i]
    right = [sum((w * r[i] * v for w, r, v in zip(s, a, b, strict=True)), Fraction(0)) for i in range(m)]
    inverse = _inverse(normal)
    parameters = [_dot(row, right) for row in inverse]
    residuals = [v - _dot(row, parameters) for row, v in zip(a, b, strict=True)]
    squares = sum((w * v * v for w, v in zip(s, residuals, strict=True)), Fraction(0))
    leverages = [w * _dot(row, [_dot(line, row) for line in inverse]) for w, row in zip(s, a, strict=True)]
    return Exactly(parameters, inverse, squares, residuals, leverages)


def exact_rank(design: Design) -> int:
    """Of A, in rational arithmetic."""
    rows = rows_of(design)
    rank = 0
    for column in range(len(rows[0])):
        chosen = next((k for k in range(rank, len(rows)) if rows[k][column] != 0), None)
        if chosen is None:
            continue
        rows[rank], rows[chosen] = rows[chosen], rows[rank]
        for k in range(rank + 1, len(rows)):
            factor = rows[k][column] / rows[rank][column]
            rows[k] = [u - factor * v for u, v in zip(rows[k], rows[rank], strict=True)]
        rank += 1
    return rank


def _dot(left: Sequence[Fraction], right: Sequence[Fraction]) -> Fraction:
    return sum((p * q for p, q in zip(left, right, strict=True)), Fraction(0))


def _inverse(matrix: Rows) -> Rows:
    """Gauss and Jordan."""
    m = len(matrix)
    rows = [row + [Fraction(int(i == j)) for j in range(m)] for i, row in enumerate(matrix)]
    for i in range(m):
        chosen = next(k for k in range(i, m) if rows[k][i] != 0)
        rows[i], rows[chosen] = rows[chosen], rows[i]
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for k in range(m):
            if k != i and rows[k][i] != 0:
                factor = rows[k][i]
                rows[k] = [u - factor * v for u, v in zip(rows[k], rows[i], strict=True)]
    return [row[m:] for row in rows]


def relative_error(value: float, truth: Fraction) -> float:
    """|value - truth| / |truth|, absolute where the truth is 0."""
    error = abs(Fraction(value) - truth)
    return float(error / abs(truth)) if truth else float(error)
