"""Elementary functions that update rules may call, understood by every engine.

Here they work on NumPy's numbers and arrays; the NumPy engines replace them by Numba overloads, and the TensorFlow
engine registers its own for tensors. Which is called is decided by the first argument.
"""

from functools import singledispatch
from typing import Any

import numpy as np


@singledispatch
def sqrt(x: Any) -> Any:
    """The square root."""
    return np.sqrt(x)


@singledispatch
def power(x: Any, exponent: Any) -> Any:
    """The exponent is a number."""
    return np.power(x, exponent)


@singledispatch
def absolute(x: Any) -> Any:
    """The size."""
    return np.abs(x)


@singledispatch
def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN of NaN."""
    return np.sign(x)


@singledispatch
def maximum(x: Any, y: Any) -> Any:
    """The larger one; NaN where either is."""
    return np.maximum(x, y)


@singledispatch
def minimum(x: Any, y: Any) -> Any:
    """The smaller one; NaN where either is."""
    return np.minimum(x, y)
