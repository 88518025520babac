"""Numbers and names as Python literals: the only way by which anything of a user's gets into a program."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_WIDTH = 100
_INDENT = "    "


def number(value: float) -> str:
    """A number that Python reads back as the same; NumPy has the names of those that are not finite."""
    text = repr(float(value))
    return text if np.isfinite(value) else text.replace("inf", "np.inf").replace("nan", "np.nan")


def name(value: str) -> str:
    """A name, in ASCII whatever it is made of."""
    is_simple = value.isascii() and value.isprintable() and not set(value) & {'"', "\\"}
    return f'"{value}"' if is_simple else ascii(value)


def listed(items: Iterable[str], indent: str = "") -> str:
    """A list of literals, in as many lines as it takes.

    Parameters
    ----------
    indent
        Of the line that it begins on.
    """
    lines, inner = [""], indent + _INDENT
    for item in items:
        if lines[-1] and len(inner) + len(lines[-1]) + len(item) + 2 > _WIDTH:
            lines.append("")
        lines[-1] += f" {item}," if lines[-1] else f"{item},"
    if len(lines) == 1:
        return f"[{lines[0].rstrip(',')}]"
    return "\n".join(["[", *(inner + line for line in lines), indent + "]"])


def numbers(values: Sequence[float] | NDArray[np.floating], indent: str = "") -> str:
    """A list of numbers."""
    return listed((number(value) for value in values), indent)


def names(values: Iterable[str]) -> str:
    """A list of names."""
    return listed(name(value) for value in values)


def matrix(rows: NDArray[np.floating]) -> str:
    """A list of lists of numbers, a line or more each."""
    lines = [f"{_INDENT}{numbers(row, _INDENT)}," for row in rows]
    return "\n".join(["[", *lines, "]"])
