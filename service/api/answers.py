"""From the domain's words to the contract's: a fit's record becomes an answer.

The two use the same names, so that the domain's own dataclasses are written out as they are, as `schemas.fit` declares
them; checking our own answers once more would double the cost of a small fit. The tests check each one they get.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic_core import to_json

from service.api.diagnosing import diagnosis_answer
from service.api.refusals import NotFinished, NotFound
from service.api.tables import json_columns
from service.api.trajectory_columns import FIELDS, Units, select
from service.fitting.solution import NullDirection, ReferenceReport, Report
from service.jobs.fits import FitStore
from service.jobs.records import FitRecord, FitStatus, TrajectoryExtent
from service.jobs.transitions import is_final

FITS = "/v1/fits"
RETRY_AFTER = {"Retry-After": "1"}

#: A longer or wider trajectory is not sent along with its fit.
MOST_INLINE_ROWS = 1000
MOST_INLINE_NUMBERS = 200_000


async def fit_in_full(record: FitRecord, fits: FitStore) -> dict[str, Any]:
    """The fit with its trajectory's columns, where those are short enough to be sent along."""
    if not _is_short(record):
        return fit_of(record)
    trajectory = await fits.trajectory(record.id)
    if trajectory is None:
        return fit_of(record)
    columns = await asyncio.to_thread(lambda: json_columns(select(trajectory), FIELDS))
    return fit_of(record, columns)


def fit_of(record: FitRecord, columns: dict[str, Any] | None = None) -> dict[str, Any]:
    """The fit; the columns are its trajectory's, None to leave them out."""
    return {
        "id": record.id,
        "status": record.status,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "attempt": record.attempt,
        "parent": record.parent,
        "dataset": record.dataset_id,
        "labels": record.labels,
        "progress": record.progress,
        "request": record.request,
        "cached": record.cached,
        "result": None if record.report is None else _result(record, record.report, columns),
        "error": record.error,
        "links": links_of(record.id, record.status, record.parent),
    }


def page_of(records: Sequence[FitRecord], next_page_token: str | None) -> dict[str, Any]:
    """One page of fits."""
    return {"fits": [fit_of(record) for record in records], "next_page_token": next_page_token}


def fit_path(fit_id: UUID) -> str:
    return f"{FITS}/{fit_id}"


def links_of(fit_id: UUID, status: FitStatus | None, parent: UUID | None = None) -> dict[str, str | None]:
    """Where to go from a fit; no status is that of one that has been deleted."""
    path = fit_path(fit_id)
    parts = {part: f"{path}/{part}" for part in ("trajectory", "events", "observations", "predictions", "script")}
    cancel = None if status is None or is_final(status) else f"{path}/cancel"
    retry = f"{path}/retry" if status == "failed" else None
    parent_path = None if parent is None else fit_path(parent)
    return {"self": path, "parent": parent_path, **parts, "cancel": cancel, "retry": retry}


def entity_tag(record: FitRecord) -> str:
    """Changes whenever the answer does; strong, as equal versions are answered in equal bytes."""
    return f'"{record.id.hex[:12]}-{record.version}"'


def is_finished(record: FitRecord) -> bool:
    return is_final(record.status)


def found(record: FitRecord | None, fit_id: UUID) -> FitRecord:
    """The record; raises NotFound where there is none."""
    if record is None:
        raise NotFound(f"There is no fit {fit_id}.")
    return record


def finished(record: FitRecord | None, fit_id: UUID, wanted: str) -> tuple[FitRecord, Report]:
    """The record with its report, from which `wanted` comes.

    Raises
    ------
    NotFound
        There is no such fit, or it has failed.
    NotFinished
        It has no report yet.
    """
    record = over(record, fit_id, wanted)
    if record.report is None:
        raise NotFound(f"The fit is {record.status}: there are no {wanted}.")
    return record, record.report


def over(record: FitRecord | None, fit_id: UUID, wanted: str) -> FitRecord:
    """The record of a fit that is finished, with a result or without; raises NotFound or NotFinished."""
    record = found(record, fit_id)
    if not is_finished(record):
        raise NotFinished(f"The fit is {record.status}; its {wanted} come with its end.", headers=RETRY_AFTER)
    return record


def trajectory_answer(record: FitRecord, units: Units, extent: TrajectoryExtent | None = None) -> dict[str, Any]:
    """What the contract calls a trajectory, but for its columns; one without rows where no steps were taken.

    `extent` is how long it is, where the record does not say.
    """
    extent = record.trajectory or extent or TrajectoryExtent(0, 0)
    return {
        "recorded": extent.recorded,
        "total_steps": extent.total_steps,
        "units": units,
        "href": f"{fit_path(record.id)}/trajectory",
    }


def json_response(answer: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer as it is sent; numbers that are not finite are null."""
    return Response(to_json(answer, inf_nan_mode="null"), status, headers, "application/json")


def _result(record: FitRecord, report: Report, columns: dict[str, Any] | None) -> dict[str, Any]:
    took_steps = record.trajectory is not None
    trajectory = trajectory_answer(record, "original") | {"columns": columns} if took_steps else None
    said = {name: value for name, value in vars(report).items() if name != "diagnosis"}
    said |= diagnosis_answer(report.diagnosis, fit_path(record.id))
    return {**said, "reference": _reference(report.reference), "trajectory": trajectory}


def _reference(reference: ReferenceReport) -> dict[str, Any]:
    return {**vars(reference), "null_directions": [_null_direction(item) for item in reference.null_directions]}


def _null_direction(direction: NullDirection) -> dict[str, Any]:
    terms = dict(zip(direction.terms, direction.coefficients, strict=True))
    return {"name": direction.name, "terms": terms}


def _is_short(record: FitRecord) -> bool:
    if record.trajectory is None or record.report is None:
        return False
    rows = record.trajectory.recorded
    return rows <= MOST_INLINE_ROWS and rows * len(record.report.coefficients) <= MOST_INLINE_NUMBERS
