"""From the domain's words to the contract's: a fit's record becomes an answer."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel

from service.api.columns import Selection, Units, json_columns, select
from service.api.refusals import NotFound
from service.api.schemas.fit import Fit, FitPage
from service.jobs.fits import FitStore
from service.jobs.records import FitRecord, TrajectoryExtent
from service.jobs.transitions import is_final

FITS = "/v1/fits"
RETRY_AFTER = {"Retry-After": "1"}

#: A longer or wider trajectory is not sent along with its fit.
MOST_INLINE_ROWS = 1000
MOST_INLINE_NUMBERS = 200_000


async def fit_in_full(record: FitRecord, fits: FitStore) -> Fit:
    """The fit with its trajectory's columns, where those are short enough to be sent along."""
    if not _is_short(record):
        return fit_of(record)
    trajectory = await fits.trajectory(record.id)
    if trajectory is None:
        return fit_of(record)
    columns = await asyncio.to_thread(lambda: json_columns(select(trajectory, Selection())))
    return fit_of(record, columns)


def fit_of(record: FitRecord, columns: dict[str, Any] | None = None) -> Fit:
    """The fit; the columns are its trajectory's, None to leave them out."""
    plain = ("id", "status", "created_at", "started_at", "finished_at", "attempt", "labels", "request")
    return Fit.model_validate(
        {name: getattr(record, name) for name in plain}
        | {
            "dataset": record.dataset_id,
            "progress": record.progress,
            "result": _result(record, columns),
            "error": record.error,
            "links": {"self": fit_path(record.id), "trajectory": trajectory_path(record.id)},
        }
    )


def page_of(records: Sequence[FitRecord], next_page_token: str | None) -> FitPage:
    """One page of fits."""
    return FitPage(fits=[fit_of(record) for record in records], next_page_token=next_page_token)


def fit_path(fit_id: UUID) -> str:
    return f"{FITS}/{fit_id}"


def trajectory_path(fit_id: UUID) -> str:
    return f"{fit_path(fit_id)}/trajectory"


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


def trajectory_answer(record: FitRecord, units: Units, columns: dict[str, Any] | None) -> dict[str, Any]:
    """What the contract calls a trajectory; one without rows where no steps were taken."""
    extent = record.trajectory or TrajectoryExtent(0, 0)
    return {
        "recorded": extent.recorded,
        "total_steps": extent.total_steps,
        "units": units,
        "href": trajectory_path(record.id),
        "columns": columns,
    }


def json_response(answer: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer as it is sent; numbers that are not finite are null."""
    return Response(answer.model_dump_json(), status, headers, "application/json")


def _result(record: FitRecord, columns: dict[str, Any] | None) -> dict[str, Any] | None:
    report = record.report
    if report is None:
        return None
    parts = ("outcome", "engine", "coefficients", "loss", "reference")
    took_steps = record.trajectory is not None
    trajectory = trajectory_answer(record, "original", columns) if took_steps else None
    return {name: getattr(report, name) for name in parts} | {"trajectory": trajectory}


def _is_short(record: FitRecord) -> bool:
    if record.trajectory is None or record.report is None:
        return False
    rows = record.trajectory.recorded
    return rows <= MOST_INLINE_ROWS and rows * len(record.report.coefficients) <= MOST_INLINE_NUMBERS
