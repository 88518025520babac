"""How a program reads data that are too many to stand in it: this text becomes part of it."""

import csv
import sys
from typing import Any

import numpy as np


def read_columns(path: str, names: list[str], rows: int) -> dict[str, Any]:
    """Named columns of a CSV file with a line of names, or of an NPZ archive."""
    if path.endswith(".npz"):
        with np.load(path) as archive:
            columns = dict(archive)
    else:
        with open(path, newline="", encoding="utf-8") as file:  # noqa: PTH123
            header, *lines = csv.reader(file)
        columns = dict(zip(header, np.array(lines, dtype=float).T, strict=True))
    for name in names:
        if name not in columns:
            sys.exit(f"{path}: there is no column {name!r}")
        if columns[name].shape != (rows,):
            sys.exit(f"{path}: column {name!r} is of shape {columns[name].shape}, not {(rows,)}")
    return columns
