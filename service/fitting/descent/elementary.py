"""Elementary functions that update rules may call, understood by every engine.

Called on tensors they trace to operations that XLA turns into its own (`x ** 0.5` into a square root); the NumPy
engine replaces them by Numba overloads.
"""

from typing import Any


def sqrt(x: Any) -> Any:
    """The square root."""
    return x**0.5
