"""Picking rows and columns of a trajectory, and naming them as the contract does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from service.fitting.arrays import IntArray
from service.fitting.trajectory import Losses, Trajectory

Field = Literal[
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
]
FIELDS: tuple[Field, ...] = get_args(Field)
_COUNTS = ("step", "epoch", "batch", "rows")

Units = Literal["original", "scaled"]


@dataclass(frozen=True)
class Selection:
    """Steps `first` to `last`, both included, thinned evenly to `limit` rows; None is no bound."""

    first: int | None = None
    last: int | None = None
    limit: int | None = None
    fields: tuple[Field, ...] = FIELDS
    units: Units = "original"


@dataclass(frozen=True)
class Table:
    """Selected columns of r rows each.

    Attributes
    ----------
    plain
        (r,) each, by field, in the contract's order.
    coefficients
        (r,) each, by target, then by term; None where they were not asked for or not recorded.
    """

    fields: tuple[Field, ...]
    plain: Mapping[str, Any]
    coefficients: Mapping[str, Mapping[str, Any]] | None

    @property
    def rows(self) -> int:
        return max((len(values) for values in self.flat().values()), default=0)

    def flat(self) -> dict[str, Any]:
        """All columns side by side; a coefficient is ``coefficient:<target>:<term>``."""
        columns = dict(self.plain)
        for target, terms in (self.coefficients or {}).items():
            columns |= {f"coefficient:{target}:{term}": values for term, values in terms.items()}
        return columns


def select(trajectory: Trajectory, selection: Selection) -> Table:
    """The rows and columns asked for."""
    rows = _rows(trajectory.step, selection)
    losses = trajectory.original if selection.units == "original" else trajectory.scaled or trajectory.original
    plain: dict[str, Any] = {
        name: getattr(losses if name in _OF_LOSSES else trajectory, name)[rows]
        for name in selection.fields
        if name != "coefficients"
    }
    coefficients = _coefficients(trajectory, losses, rows) if "coefficients" in selection.fields else None
    return Table(selection.fields, plain, coefficients)


def nothing(selection: Selection) -> Table:
    """What is selected of a fit that took no steps: the columns, without rows."""
    plain: dict[str, Any] = {
        name: np.empty(0, np.int64 if name in _COUNTS else np.float64)
        for name in selection.fields
        if name != "coefficients"
    }
    return Table(selection.fields, plain, {} if "coefficients" in selection.fields else None)


def json_columns(table: Table) -> dict[str, Any]:
    """The table as the contract's `columns`: lists, and null for what is not there."""
    columns: dict[str, Any] = dict.fromkeys(FIELDS)
    columns |= {name: values.tolist() for name, values in table.plain.items()}
    if table.coefficients is not None:
        columns["coefficients"] = {
            target: {term: values.tolist() for term, values in terms.items()}
            for target, terms in table.coefficients.items()
        }
    return columns


_OF_LOSSES = frozenset(Losses.__dataclass_fields__)


def _rows(step: IntArray, selection: Selection) -> IntArray:
    first = 0 if selection.first is None else int(np.searchsorted(step, selection.first, "left"))
    last = len(step) if selection.last is None else int(np.searchsorted(step, selection.last, "right"))
    count = max(last - first, 0)
    if selection.limit is None or count <= selection.limit:
        return np.arange(first, first + count)
    # Integer arithmetic meets the first and the last row exactly.
    return first + np.arange(selection.limit) * (count - 1) // (selection.limit - 1)


def _coefficients(trajectory: Trajectory, losses: Losses, rows: IntArray) -> dict[str, dict[str, Any]] | None:
    if losses.coefficients is None:
        return None
    kept = losses.coefficients[rows]
    return {
        target: {term: kept[:, row, column] for row, term in enumerate(trajectory.terms)}
        for column, target in enumerate(trajectory.targets)
    }
