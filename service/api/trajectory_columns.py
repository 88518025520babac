"""The columns of a trajectory, picked and named as the contract does."""

from typing import Any, Literal

import numpy as np

from service.api.tables import Selection, Table
from service.fitting.arrays import IntArray
from service.fitting.trajectory import Losses, Trajectory

FIELDS = (
    "step",
    "epoch",
    "batch",
    "rows",
    "learning_rate",
    "batch_loss",
    "epoch_loss",
    "epoch_rmse",
    "loss",
    "gradient_norm",
    "gap",
    "coefficients",
)
_COUNTS = ("step", "epoch", "batch", "rows")

Units = Literal["original", "scaled"]

EVERYTHING = Selection(FIELDS)


def select(trajectory: Trajectory, selection: Selection, units: Units = "original") -> Table:
    """The rows and columns asked for."""
    rows = selection.rows_of(trajectory.step)
    losses = trajectory.original if units == "original" else trajectory.scaled or trajectory.original
    plain: dict[str, Any] = {
        name: getattr(losses if name in _OF_LOSSES else trajectory, name)[rows]
        for name in selection.fields
        if name != "coefficients"
    }
    return Table(plain, _coefficients(trajectory, losses, rows) if "coefficients" in selection.fields else None)


def nothing(selection: Selection) -> Table:
    """What is selected of a fit that took no steps: the columns, without rows."""
    plain: dict[str, Any] = {
        name: np.empty(0, np.int64 if name in _COUNTS else np.float64)
        for name in selection.fields
        if name != "coefficients"
    }
    return Table(plain, {} if "coefficients" in selection.fields else None)


_OF_LOSSES = frozenset(Losses.__dataclass_fields__)


def _coefficients(trajectory: Trajectory, losses: Losses, rows: IntArray) -> dict[str, dict[str, Any]] | None:
    if losses.coefficients is None:
        return None
    kept = losses.coefficients[rows]
    return {
        target: {term: kept[:, row, column] for row, term in enumerate(trajectory.terms)}
        for column, target in enumerate(trajectory.targets)
    }
