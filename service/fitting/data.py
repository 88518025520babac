"""A dataset: columns of finite numbers, immutable, known by the digest of its content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.errors import InvalidProblem

LONGEST_NAME = 200


@dataclass(frozen=True, eq=False)
class Dataset:
    """Named columns of equal length.

    Attributes
    ----------
    names
        One name a column, no two alike.
    values
        (n, k) float64, finite, read-only, stored column after column.

    Raises
    ------
    InvalidProblem
        No columns or no rows; a name that is empty, too long, repeated or not plain text; a number that is not
        finite.
    """

    names: tuple[str, ...]
    values: FloatArray

    def __post_init__(self) -> None:
        values = np.asfortranarray(self.values, dtype=np.float64)
        _check(self.names, values)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @property
    def rows(self) -> int:
        return int(self.values.shape[0])

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of names, shape and little-endian column bytes: the same content is the same id."""
        return content_digest(self.names, self.rows, self.content)

    def columns(self, names: Sequence[str]) -> FloatArray:
        """The named columns side by side, (n, len(names)), read-only; a view where they lie side by side already."""
        places = [self._places[name] for name in names]
        first = places[0] if places else 0
        if places == list(range(first, first + len(places))):
            return self.values[:, first : first + len(places)]
        chosen = self.values.T[places].T
        chosen.flags.writeable = False
        return chosen

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    @property
    def content(self) -> memoryview:
        """The bytes of the values alone, little-endian float64, column after column; no copy."""
        columns = self.values.T.astype("<f8", order="C", copy=False)
        return columns.reshape(-1).view(np.uint8).data

    def to_bytes(self) -> bytes:
        """A copy of `content`."""
        return bytes(self.content)

    @classmethod
    def from_bytes(cls, names: Sequence[str], rows: int, body: bytes, digest: str) -> "Dataset":
        """The inverse of `to_bytes`; the digest, which is known where bytes are, is not computed again."""
        values = np.frombuffer(body, dtype="<f8").reshape((rows, len(names)), order="F")
        dataset = cls(tuple(names), values)
        vars(dataset)["digest"] = digest
        return dataset

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[float]]) -> "Dataset":
        """Named columns, checked to be equally long.

        Raises
        ------
        InvalidProblem
            No columns, or ragged ones; and what the class itself refuses.
        """
        if not columns:
            raise InvalidProblem(("data", "columns"), "There are no columns.", "at least one target column")
        first, rows = next((name, len(values)) for name, values in columns.items())
        for name, values in columns.items():
            if len(values) != rows:
                raise InvalidProblem(
                    ("data", "columns", name),
                    f"Column {name!r} has {len(values)} values where column {first!r} has {rows}.",
                    "columns of equal length",
                )
        return cls(tuple(columns), np.column_stack([_numbers(name, values) for name, values in columns.items()]))

    @classmethod
    def from_arrays(cls, x: FloatArray, y: FloatArray) -> "Dataset":
        """Features (n, p) and targets (n, q) named ``x1..xp`` and ``y``, or ``y1..yq`` when q > 1.

        A 1-d array is one column, whatever the other one's shape.

        Raises
        ------
        InvalidProblem
            Different numbers of rows; and what the class itself refuses.
        """
        features, targets = (np.reshape(part, (len(part), -1)) for part in (x, y))
        if len(features) != len(targets):
            raise InvalidProblem(
                ("data", "y"),
                f"y has {len(targets)} rows where x has {len(features)}.",
                f"{len(features)} rows",
            )
        names = [f"x{j + 1}" for j in range(features.shape[1])]
        outputs = targets.shape[1]
        names += ["y"] if outputs == 1 else [f"y{k + 1}" for k in range(outputs)]
        return cls(tuple(names), np.hstack([features, targets]))


def content_digest(names: Sequence[str], rows: int, content: bytes | memoryview) -> str:
    """The digest of a dataset with these columns and this many rows, whose bytes may not be its own."""
    state = hashlib.sha256(json.dumps([names, [rows, len(names)]]).encode())
    state.update(content)
    return state.hexdigest()


def _numbers(name: str, values: Sequence[float]) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except OverflowError as error:
        raise InvalidProblem(
            ("data", "columns", name),
            f"Column {name!r} holds an integer beyond float64.",
            "finite float64 numbers",
        ) from error


def _check(names: tuple[str, ...], values: FloatArray) -> None:
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"values of shape {values.shape} do not fit {len(names)} names")
    for name in names:
        _check_name(name)
    if len(set(names)) != len(names):
        raise InvalidProblem(("data", "columns"), "Two columns have the same name.", "names that differ")
    if not names or values.shape[0] == 0:
        raise InvalidProblem(("data",), "There are no rows.", "at least one row")
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InvalidProblem(
            ("data", "columns", names[column], row),
            f"Row {row} of column {names[column]!r} is not a finite number.",
            "finite float64 numbers",
        )


def _check_name(name: str) -> None:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidProblem(
            ("data", "columns"),
            f"The column name {name[:40]!r} cannot be used.",
            f"1 to {LONGEST_NAME} printable characters",
        )
