"""Column lengths that neither overflow nor vanish, as the BLAS computes them."""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.reference.equilibration import column_exponents, scaled_by


def lengths(values: FloatArray) -> FloatArray:
    """(k,) the Euclidean lengths of the columns of values (n, k), n >= 1."""
    exponents = column_exponents(values)
    scaled = np.linalg.norm(scaled_by(values, -exponents), axis=0)
    return np.asarray(np.ldexp(scaled, exponents.astype(np.int64)), dtype=np.float64)
