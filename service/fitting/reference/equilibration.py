"""Columns brought to comparable size by powers of two, which rounds nothing."""

import numpy as np

from service.fitting.arrays import FloatArray


def column_exponents(values: FloatArray) -> FloatArray:
    """(k,) the e_j for which 2^-e_j times column j has its largest entry in [1/2, 1); 0 for a zero column."""
    largest = np.abs(values).max(axis=0)
    _, exponents = np.frexp(largest)
    return np.where(largest > 0.0, exponents, 0)


def scaled_by(values: FloatArray, exponents: FloatArray) -> FloatArray:
    """Values times 2^exponents along the last axis, exactly but for under- and overflow."""
    with np.errstate(under="ignore", over="ignore"):
        return np.ldexp(values, exponents.astype(np.int64))
