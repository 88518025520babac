"""The columns of a trajectory, picked and named as the contract does."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from service.api.tables import Table
from service.fitting.arrays import FloatArray
from service.fitting.trajectory import Trajectory
from service.jobs.archive import ArchivedTrajectory

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


def select(
    trajectory: Trajectory | ArchivedTrajectory, fields: Sequence[str] = FIELDS, units: Units = "original"
) -> Table:
    """The columns asked for, each worked out only if it is."""
    losses = trajectory.original if units == "original" else trajectory.scaled or trajectory.original
    plain: dict[str, Any] = {
        name: getattr(losses if name in _OF_LOSSES else trajectory, name) for name in fields if name != "coefficients"
    }
    return Table(plain, _coefficients(trajectory, losses.coefficients) if "coefficients" in fields else None)


def nothing(fields: Sequence[str] = FIELDS) -> Table:
    """What is selected of a fit that took no steps: the columns, without rows."""
    plain: dict[str, Any] = {
        name: np.empty(0, np.int64 if name in _COUNTS else np.float64) for name in fields if name != "coefficients"
    }
    return Table(plain, {} if "coefficients" in fields else None)


_OF_LOSSES = frozenset({"batch_loss", "epoch_loss", "epoch_rmse", "loss", "gap"})


def _coefficients(
    trajectory: Trajectory | ArchivedTrajectory, coefficients: FloatArray | None
) -> dict[str, dict[str, Any]] | None:
    if coefficients is None:
        return None
    return {
        target: {term: coefficients[:, row, column] for row, term in enumerate(trajectory.terms)}
        for column, target in enumerate(trajectory.targets)
    }
