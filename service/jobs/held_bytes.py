"""How much memory a value keeps from being freed, as far as it is arrays: all else is small beside them."""

import gc
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

_SHARED = (type, ModuleType)


def held_bytes(*values: object) -> int:
    """The bytes of all arrays that the values lead to, each counted once, and a view as what it is a view of."""
    seen: dict[int, object] = {}
    waiting: list[Any] = list(values)
    while waiting:
        value = waiting.pop()
        if id(value) not in seen and not isinstance(value, _SHARED):
            seen[id(value)] = value
            waiting.extend(_inside(value))
    return sum(value.nbytes for value in seen.values() if isinstance(value, np.ndarray) and not _is_view(value))


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, np.ndarray):
        return () if value.base is None else (value.base,)
    if isinstance(value, FunctionType):
        # Not its globals, which are the whole program.
        return (cell.cell_contents for cell in value.__closure__ or ())
    return gc.get_referents(value)


def _is_view(array: np.ndarray[Any, Any]) -> bool:
    return isinstance(array.base, np.ndarray)
