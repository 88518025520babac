"""The rows of a prediction's body as numbers, in the order of the fit's features."""

from collections.abc import Sequence

import numpy as np

from service.api.refusals import invalid_place
from service.api.schemas.prediction import NewColumns, NewData
from service.fitting.arrays import FloatArray
from service.fitting.model import Model

#: Rows times targets: each is answered with eleven numbers.
MOST_PREDICTED = 200_000


def new_features(data: NewData, model: Model) -> FloatArray:
    """The features (n, p) of the rows to predict.

    Raises
    ------
    InvalidRequest
        A column the fit has no feature for, a feature without a column, columns of different lengths, rows of another
        width, or more rows than are answered for so many targets.
    """
    if isinstance(data, NewColumns):
        features = _by_name(data.columns, model.features)
    else:
        features = _by_place(data.x, len(model.features))
    rows, targets = len(features), len(model.targets)
    most = max(MOST_PREDICTED // targets, 1)
    if rows > most:
        raise invalid_place(("data",), f"There are {rows} rows, for {targets} targets.", f"at most {most} rows")
    return features


def _by_name(columns: dict[str, list[float]], names: Sequence[str]) -> FloatArray:
    first, rows = next((name, len(values)) for name, values in columns.items())
    known = set(names)
    for name, values in columns.items():
        if name not in known:
            raise invalid_place(("data", "columns", name), "The fit has no feature of this name.", _features(names))
        if len(values) != rows:
            message = f"Column {name!r} has {len(values)} values where column {first!r} has {rows}."
            raise invalid_place(("data", "columns", name), message, "columns of equal length")
    for name in names:
        if name not in columns:
            raise invalid_place(("data", "columns", name), "This feature is missing.", _features(names))
    return np.array([columns[name] for name in names], dtype=np.float64).T


def _by_place(x: Sequence[float] | Sequence[list[float]], width: int) -> FloatArray:
    rows = [row if isinstance(row, list) else [row] for row in x]
    for place, row in enumerate(rows):
        if len(row) != width:
            message = f"The number of this row's numbers is {len(row)}, that of the fit's features {width}."
            raise invalid_place(("data", "x", place), message, f"{width} numbers a row")
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def _features(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    if not names:
        return '"x" with an empty list a row: the fit has no features'
    return f"the fit's features: {shown}{', ..' if len(names) > 20 else ''}"
