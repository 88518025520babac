"""Names for the array types that cross module borders."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
#: An array in the working precision of a descent, float32 or float64.
WorkingArray = NDArray[np.floating[Any]]


def length(values: FloatArray) -> float:
    """The Euclidean length of all numbers together: `numpy.linalg.norm` takes four times as long for a few."""
    flat = values.ravel()
    return math.sqrt(flat.dot(flat))
