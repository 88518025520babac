"""The columns of a fit's rows, one target at a time, picked and named as the contract does."""

from typing import Any

import numpy as np

from service.api.tables import Selection, Table
from service.fitting.arrays import FloatArray
from service.fitting.inference.observations import Observations

FIELDS = (
    "row",
    "observed",
    "fitted",
    "residual",
    "leverage",
    "studentised_internal",
    "studentised_external",
    "cooks_distance",
    "dffits",
)


def select(found: Observations, y: FloatArray, target: int, selection: Selection) -> Table:
    """The rows and columns asked for, of the target in column `target` of Y (n, q)."""
    numbers = np.arange(len(y))
    columns: dict[str, Any] = {
        "row": numbers,
        "observed": y[:, target],
        "fitted": found.fitted[:, target],
        "residual": found.residual[:, target],
        "leverage": found.leverage,
        "studentised_internal": found.studentized_internal[:, target],
        "studentised_external": found.studentized_external[:, target],
        "cooks_distance": found.cooks_distance[:, target],
        "dffits": found.dffits[:, target],
    }
    rows = selection.rows_of(numbers)
    return Table({name: columns[name][rows] for name in selection.fields})
