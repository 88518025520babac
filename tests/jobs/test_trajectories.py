"""Reading what a fit wrote down, from a real database: any part of it, and what older versions stored."""

import io
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest

from service.bootstrap import Services
from service.fitting.descent.account import Account
from service.fitting.thinning import places_kept
from service.fitting.trajectory import Trajectory
from service.jobs.archive import ArchivedTrajectory
from service.jobs.attempts import Attempt, Attempts
from service.jobs.messages import Part, Solved
from service.jobs.records import FitRecord, TrajectoryExtent
from service.jobs.trajectories import EVERY_ROW, Rows
from tests.fitting.trajectories import trajectory
from tests.jobs.reports import report

pytestmark = pytest.mark.anyio

#: 0, 3, .. 120, and the row of least loss but the first, which is handed on late.
STEPS = np.union1d(np.arange(0, 121, 3), 50)
WHOLE = trajectory(120, STEPS)
LATE = np.flatnonzero(STEPS == 50)

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[[], Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Store = Callable[[], Awaitable[UUID]]


def _parts(size: int) -> list[Part]:
    account, records = WHOLE.account.to_bytes(), np.delete(WHOLE.records, LATE)
    pieces = [records[first : first + size] for first in range(0, len(records), size)] + [WHOLE.records[LATE]]
    return [
        Part(k, None if k else account, len(piece), piece["step"][0].item(), piece["step"][-1].item(), piece.view("u1"))
        for k, piece in enumerate(pieces)
    ]


@pytest.fixture
async def attempt(attempts: Attempts, submit: Submit, job_of: JobOf) -> Attempt:
    """A fit that runs."""
    record = await submit()
    begun = await attempts.begin(record.id, await job_of(record.id))
    assert begun is not None
    return begun


@pytest.fixture(params=[1, 7, 40, 100])
def store(request: pytest.FixtureRequest, attempts: Attempts, attempt: Attempt) -> Store:
    """Stores the trajectory in parts of so many rows, and finishes the fit."""

    async def stored() -> UUID:
        *parts, last = _parts(request.param)
        for part in parts:
            assert await attempts.keep(attempt, part)
        assert await attempts.succeed(attempt, Solved(report(), TrajectoryExtent(len(STEPS), 120), last))
        return attempt.fit_id

    return stored


@pytest.mark.parametrize(
    "wanted",
    [
        EVERY_ROW,
        Rows(limit=2),
        Rows(limit=3),
        Rows(limit=7),
        Rows(limit=1000),
        Rows(first=49, last=51),
        Rows(first=30, last=80, limit=4),
        Rows(first=100, limit=5),
        Rows(last=49, limit=6),
        Rows(first=50, last=50),
        Rows(first=4, last=5),
        Rows(first=121),
    ],
    ids=str,
)
async def test_any_rows_are_read_from_any_parts(services: Services, store: Store, wanted: Rows) -> None:
    read = await services.fits.trajectory(await store(), wanted)
    last = 120 if wanted.last is None else wanted.last
    inside = WHOLE.take(np.array([place for place, step in enumerate(STEPS) if wanted.first <= step <= last], np.int64))
    expected = inside.take(places_kept(inside.original.loss, wanted.limit))
    assert isinstance(read, Trajectory)
    np.testing.assert_array_equal(read.records, expected.records)
    np.testing.assert_array_equal(read.original.loss, expected.original.loss)
    assert (read.terms, read.targets) == (WHOLE.terms, WHOLE.targets)


async def test_nobody_reads_before_the_fit_has_succeeded(
    services: Services, attempts: Attempts, attempt: Attempt
) -> None:
    for part in _parts(10):
        assert await attempts.keep(attempt, part)
        assert await services.fits.trajectory(attempt.fit_id) is None


async def test_a_fit_that_is_deleted_while_it_is_read_is_none(
    services: Services, attempts: Attempts, attempt: Attempt, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *parts, last = _parts(10)
    for part in (first, *parts):
        assert await attempts.keep(attempt, part)
    assert await attempts.succeed(attempt, Solved(report(), TrajectoryExtent(len(STEPS), 120), last))

    def delete(_: bytes) -> Account:
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM fit")
        return WHOLE.account

    # Between the table of contents and the second part.
    monkeypatch.setattr(Account, "from_bytes", delete)
    assert await services.fits.trajectory(attempt.fit_id) is None


def _archive() -> bytes:
    """As revision 0001 stored it."""
    step = np.arange(21)
    losses = {"batch_loss": step + 0.5, "epoch_loss": step + 0.25, "epoch_rmse": step + 0.125}
    losses |= {"loss": np.where(step == 13, -1.0, 20.0 - step), "gap": step + 0.0}
    arrays: dict[str, Any] = dict.fromkeys(("step", "epoch", "batch", "rows"), step)
    arrays |= {"total_steps": 20, "learning_rate": step * 0.1, "gradient_norm": step * 0.2}
    arrays |= {"terms": np.array(["(intercept)", "x"]), "targets": np.array(["y"])}
    arrays |= {f"original.{name}": values for name, values in losses.items()}
    arrays |= {f"scaled.{name}": 10.0 * values for name, values in losses.items()}
    arrays["original.coefficients"] = np.stack([step, -step], axis=1)[:, :, None] + 0.0
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    return archive.getvalue()


@pytest.mark.parametrize(
    ("wanted", "steps"),
    [
        (EVERY_ROW, list(range(21))),
        (Rows(first=5, last=7), [5, 6, 7]),
        (Rows(limit=3), [0, 13, 20]),
        (Rows(first=30), []),
    ],
    ids=str,
)
async def test_archives_of_the_first_revision_stay_readable(
    services: Services, attempts: Attempts, attempt: Attempt, sql: Sql, wanted: Rows, steps: list[int]
) -> None:
    body = _archive()
    assert await attempts.succeed(attempt, Solved(report(), TrajectoryExtent(21, 20)))
    for ordinal, first in enumerate(range(0, len(body), 1000)):
        insert = "INSERT INTO trajectory_block (fit_id, ordinal, body) VALUES (%s, %s, %s)"
        await sql(insert, attempt.fit_id, ordinal, body[first : first + 1000])
    read = await services.fits.trajectory(attempt.fit_id, wanted)
    assert isinstance(read, ArchivedTrajectory)
    assert (read.terms, read.targets) == (("(intercept)", "x"), ("y",))
    assert read.step.tolist() == steps
    assert read.original.batch_loss.tolist() == [step + 0.5 for step in steps]
    assert read.original.coefficients is not None
    assert read.original.coefficients[:, 1, 0].tolist() == [-step for step in steps]
    assert read.scaled is not None
    assert read.scaled.gap.tolist() == [10.0 * step for step in steps]
    assert read.scaled.coefficients is None
