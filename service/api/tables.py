"""Columns side by side: which rows and columns of them were asked for, and how the contract writes them in JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.fitting.arrays import IntArray


@dataclass(frozen=True)
class Selection:
    """The columns in `fields`; rows `first` to `last`, both included, thinned evenly to `limit`; None is no bound."""

    fields: tuple[str, ...]
    first: int | None = None
    last: int | None = None
    limit: int | None = None

    def rows_of(self, numbers: IntArray) -> IntArray:
        """Where the rows asked for stand, given the ascending numbers (r,) that rows are known by."""
        first = 0 if self.first is None else int(np.searchsorted(numbers, self.first, "left"))
        last = len(numbers) if self.last is None else int(np.searchsorted(numbers, self.last, "right"))
        count = max(last - first, 0)
        if self.limit is None or count <= self.limit:
            return np.arange(first, first + count)
        # Integer arithmetic meets the first and the last row exactly.
        return first + np.arange(self.limit) * (count - 1) // (self.limit - 1)


@dataclass(frozen=True)
class Table:
    """Selected columns of r rows each.

    Attributes
    ----------
    plain
        (r,) each, by field, in the contract's order.
    coefficients
        (r,) each, by target, then by term; None where they were not asked for, not recorded, or are no such thing.
    """

    plain: Mapping[str, Any]
    coefficients: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def rows(self) -> int:
        return max((len(values) for values in self.flat().values()), default=0)

    def flat(self) -> dict[str, Any]:
        """All columns side by side; a coefficient is ``coefficient:<target>:<term>``."""
        columns = dict(self.plain)
        for target, terms in (self.coefficients or {}).items():
            columns |= {f"coefficient:{target}:{term}": values for term, values in terms.items()}
        return columns


def json_columns(table: Table, fields: Sequence[str]) -> dict[str, Any]:
    """The table as the contract's `columns`: a list for each of the `fields` there are, null for those left out."""
    columns: dict[str, Any] = dict.fromkeys(fields)
    columns |= {name: values.tolist() for name, values in table.plain.items()}
    if table.coefficients is not None:
        columns["coefficients"] = {
            target: {term: values.tolist() for term, values in terms.items()}
            for target, terms in table.coefficients.items()
        }
    return columns
