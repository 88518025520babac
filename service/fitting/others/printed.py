"""What a program hands back, with what it saw on the way: the material of the sentence that explains it."""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.others.question import Question


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular values a program works with, and which of them it counts.

    Attributes
    ----------
    of
        In words, the matrix they belong to.
    singular_values
        (min(n, k),) descending.
    kept
        How many it divides by.
    cutoff
        It counts those above this times the largest.
    terms, sizes
        (k,) the columns of that matrix, and their lengths.
    rounding
        Those of them that centring should have made 0, and did not quite.
    """

    of: str
    singular_values: FloatArray
    kept: int
    cutoff: float
    terms: tuple[str, ...]
    sizes: FloatArray
    rounding: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Omission:
    """A column that a program leaves out of the model.

    Attributes
    ----------
    share
        The part of its length that is left beside the columns before it; NaN where it was never looked at, because
        there are no more rows.
    is_zero
        Whether it is 0 in every row.
    """

    term: str
    share: float
    is_zero: bool


@dataclass(frozen=True, eq=False)
class Printed:
    """A program's answer.

    Attributes
    ----------
    coefficients
        (m, q); NaN where the program prints NA.
    rank
        As the program reports it.
    counted
        How many directions of the design it solved for, the intercept among them.
    spectrum
        None where the program computes no singular values.
    omissions
        What was left out, in the order of terms.
    rows
        How many rows it used.
    """

    coefficients: FloatArray
    rank: int
    counted: int
    spectrum: Spectrum | None
    omissions: tuple[Omission, ...]
    rows: int


def finite_matrices(question: Question) -> tuple[FloatArray, FloatArray]:
    """The weighted design (n, m) and targets (n, q).

    Raises
    ------
    OverflowError
        A product with the weights' roots is no finite number: LAPACK must not see it, for it prints complaints.
    """
    a, y = question.weighted_design, question.weighted_targets
    if not (np.isfinite(a).all() and np.isfinite(y).all()):
        raise OverflowError("features or targets, times the square roots of the weights, leave the range of float64")
    return a, y
