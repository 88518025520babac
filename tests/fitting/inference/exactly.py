"""Quadratic forms of new rows in rational arithmetic."""

from fractions import Fraction

from service.fitting.reference.design import Design
from tests.fitting.reference.exactly import Exactly, rows_of


def quadratic_forms(exact: Exactly, new: Design) -> list[Fraction]:
    """a' (A'SA)^-1 a of new rows."""
    return [_form(row, exact.inverse) for row in rows_of(new)]


def _form(row: list[Fraction], matrix: list[list[Fraction]]) -> Fraction:
    pairs = ((p, line) for p, line in zip(row, matrix, strict=True))
    return sum((p * v * q for p, line in pairs for v, q in zip(line, row, strict=True)), Fraction(0))
