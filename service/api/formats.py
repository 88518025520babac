"""A table in every format it can be sent in.

Each writer gives its bytes piece by piece, so that a long table is never in memory twice. pyarrow is loaded by the
first request that needs it: it would double the memory of a process that may never be asked.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import to_json

from service.api.tables import Table

if TYPE_CHECKING:
    import pyarrow

JSON = "application/json"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"

_PIECE_ROWS = 2_000


def json_pieces(answer: Mapping[str, Any], table: Table, known: Sequence[str]) -> Iterator[bytes]:
    """The table as JSON inside its `answer`, with a member of `columns` for each `known` one: see `json_columns`."""
    yield to_json(answer, inf_nan_mode="null")[:-1] + b',"columns":{'
    for place, name in enumerate(known):
        yield (b"," if place else b"") + to_json(name) + b":"
        if name == "coefficients" and table.coefficients is not None:
            yield from _nested_json(table.coefficients)
        else:
            yield _list_json(table.plain.get(name))
    yield b"}}"


def _nested_json(columns: Any) -> Iterator[bytes]:
    """Lists by target, then by term."""
    if not isinstance(columns, Mapping):
        yield _list_json(columns)
        return
    for place, (name, inner) in enumerate(columns.items()):
        yield (b"," if place else b"{") + to_json(name) + b":"
        yield from _nested_json(inner)
    yield b"}" if columns else b"{}"


def _list_json(values: Any) -> bytes:
    return to_json(None if values is None else values.tolist(), inf_nan_mode="null")


def _ndjson(table: Table) -> Iterator[bytes]:
    for first in range(0, table.rows, _PIECE_ROWS):
        piece = slice(first, min(first + _PIECE_ROWS, table.rows))
        yield b"".join(to_json(row, inf_nan_mode="null") + b"\n" for row in _nested(table, piece))


def _nested(table: Table, piece: slice) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _records(table.plain, piece) or [{} for _ in range(piece.start, piece.stop)]
    if table.coefficients is None:
        return rows
    by_target = {target: _records(terms, piece) for target, terms in table.coefficients.items()}
    for place, row in enumerate(rows):
        row["coefficients"] = {target: records[place] for target, records in by_target.items()}
    return rows


def _records(columns: Mapping[str, Any], piece: slice) -> list[dict[str, Any]]:
    lists = [values[piece].tolist() for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _csv(table: Table) -> Iterator[bytes]:
    from pyarrow import csv

    arrow = _arrow_table(table)
    if arrow.num_columns == 0:
        return
    for first in range(0, max(arrow.num_rows, 1), _PIECE_ROWS):
        sink = io.BytesIO()
        csv.write_csv(arrow.slice(first, _PIECE_ROWS), sink, csv.WriteOptions(include_header=first == 0))
        yield sink.getvalue()


def _arrow(table: Table) -> Iterator[bytes]:
    import pyarrow

    arrow = _arrow_table(table)
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, arrow.schema) as writer:
        for batch in arrow.to_batches(max_chunksize=_PIECE_ROWS):
            writer.write_batch(batch)
            yield _taken(sink)
    yield sink.getvalue()


def _taken(sink: io.BytesIO) -> bytes:
    piece = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return piece


def _parquet(table: Table) -> Iterator[bytes]:
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(_arrow_table(table), sink)
    yield sink.getvalue()


def _arrow_table(table: Table) -> "pyarrow.Table":
    import pyarrow

    columns = table.flat()
    arrays = [pyarrow.array(np.ascontiguousarray(values), mask=~np.isfinite(values)) for values in columns.values()]
    return pyarrow.table(arrays, names=list(columns))


#: By media type; JSON has the answer's own words around the columns: see `json_pieces`.
WRITERS: Mapping[str, Callable[[Table], Iterator[bytes]]] = {
    CSV: _csv,
    NDJSON: _ndjson,
    PARQUET: _parquet,
    ARROW: _arrow,
}
OFFERED = (JSON, *WRITERS)
