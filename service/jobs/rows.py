"""Rows of the table `fit`, as records."""

from psycopg.rows import DictRow

from service.jobs.records import ERROR, PROGRESS, RESULT, Codec, FitRecord, T

#: What is read as it is.
_PLAIN = (
    "id",
    "status",
    "version",
    "attempt",
    "parent",
    "dataset_id",
    "request",
    "labels",
    "created_at",
    "started_at",
    "finished_at",
)
#: What is decoded here, from its text.
_ENCODED = ("progress", "result", "error")

NAMES = (*_PLAIN, *_ENCODED)
COLUMNS = ", ".join([*_PLAIN, *(f"{name}::text AS {name}" for name in _ENCODED)])
#: For a list: a result can be large, and is not even read then.
COLUMNS_WITHOUT_RESULT = COLUMNS.replace("result::text", "NULL::text")


def record_of(row: DictRow, *, cached: bool = False) -> FitRecord:
    """The fit whose `COLUMNS` these are."""
    result = _decode(RESULT, row["result"])
    return FitRecord(
        **{name: row[name] for name in _PLAIN},
        progress=_decode(PROGRESS, row["progress"]),
        report=None if result is None else result.report,
        trajectory=None if result is None else result.trajectory,
        error=_decode(ERROR, row["error"]),
        cached=cached,
    )


def _decode(codec: Codec[T], text: str | None) -> T | None:
    return None if text is None else codec.decode(text)
