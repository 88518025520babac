"""Rows that a statement brings along as its parameters, to select from as if they were a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BroughtRows:
    """The shape of such rows.

    Attributes
    ----------
    name
        By which the statement knows them, and its placeholders begin.
    types
        Of the columns, by their names. There is one more, `place`: the row's place among them, from 1 on.
    """

    name: str
    types: Mapping[str, str]

    # Binary: as text, each quotation mark of an array would be escaped, and each byte would be two characters.

    @property
    def many(self) -> str:
        """Any number of rows, for a FROM."""
        columns = [f"%({self.name}_{name})b::{kind}[]" for name, kind in self.types.items()]
        return f"unnest({', '.join(columns)}) WITH ORDINALITY AS {self._columns}"

    @property
    def one(self) -> str:
        """A single row, for a FROM: without arrays, which cost as much as the rest of a small statement."""
        parts = [f"%({self.name}_{name})b::{kind}" for name, kind in self.types.items()]
        return f"(VALUES ({', '.join(parts)}, 1)) AS {self._columns}"

    @property
    def _columns(self) -> str:
        return f"{self.name} ({', '.join(self.types)}, place)"

    def many_values(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the placeholders of `many` stand for."""
        return {f"{self.name}_{name}": [row[name] for row in rows] for name in self.types}

    def one_values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What the placeholders of `one` stand for."""
        return {f"{self.name}_{name}": row[name] for name in self.types}
