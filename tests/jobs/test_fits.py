"""Submitting, storing, reading and listing fits on a real database."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from service.bootstrap import Services
from service.fitting.data import Dataset
from service.fitting.model import Model
from service.fitting.solver import Exact
from service.fitting.task import FitTask
from service.jobs.asked import Asked
from service.jobs.inline import solve_at_once
from service.jobs.records import FitRecord

pytestmark = pytest.mark.anyio

TASK = FitTask(Model(("x",), ("y",)), Exact())


async def _count(services: Services, table: str) -> int:
    async with services.pool.connection() as connection:
        cursor = await connection.execute(f"SELECT count(*) AS n FROM {table}".encode())
        [row] = await cursor.fetchall()
    return int(row["n"])


async def test_a_submitted_fit_is_queued_with_its_dataset_and_one_job(services: Services, dataset: Dataset) -> None:
    request = {"solver": {"kind": "exact"}, "data": {"dataset": "ä"}}
    record = await services.fits.submit(Asked(dataset, TASK, request, {"team": "a"}))
    assert (record.status, record.version, record.attempt) == ("queued", 1, 0)
    assert (record.request, record.labels, record.dataset_id) == (request, {"team": "a"}, dataset.digest)
    assert (record.started_at, record.finished_at, record.report, record.error) == (None, None, None, None)
    assert await services.fits.get(record.id) == record
    assert [await _count(services, table) for table in ("dataset", "fit", "procrastinate_jobs")] == [1, 1, 1]


async def test_a_submission_that_fails_leaves_nothing(services: Services, dataset: Dataset) -> None:
    # A set is no JSON: this fails after the dataset and the job have been written.
    unwritable: dict[str, Any] = {"oops": {1, 2}}
    with pytest.raises(TypeError):
        await services.fits.submit(Asked(dataset, TASK, unwritable))
    assert [await _count(services, table) for table in ("dataset", "fit", "procrastinate_jobs")] == [0, 0, 0]


async def test_a_submission_that_the_database_refuses_leaves_nothing(services: Services, dataset: Dataset) -> None:
    async with services.pool.connection() as connection:
        await connection.execute("ALTER TABLE fit ADD CONSTRAINT forbidden CHECK (request->>'a' IS NULL)")
    try:
        with pytest.raises(Exception, match="forbidden"):
            await services.fits.submit(Asked(dataset, TASK, {"a": 1}))
    finally:
        async with services.pool.connection() as connection:
            await connection.execute("ALTER TABLE fit DROP CONSTRAINT forbidden")
    assert [await _count(services, table) for table in ("dataset", "fit", "procrastinate_jobs")] == [0, 0, 0]


async def _store(services: Services, dataset: Dataset, **parts: Any) -> FitRecord:
    solved = solve_at_once(TASK, dataset)
    assert solved is not None
    asked = {"request": {}, "labels": {}} | parts
    return await services.fits.store(Asked(dataset, TASK, **asked), solved, fresh=True)


async def test_a_solved_fit_is_stored_finished_with_its_dataset_and_without_a_job(
    services: Services, dataset: Dataset
) -> None:
    request = {"solver": {"kind": "exact"}, "data": {"dataset": "ä"}}
    record = await _store(services, dataset, request=request, labels={"team": "a"})
    assert (record.status, record.version, record.attempt) == ("succeeded", 1, 1)
    assert (record.request, record.labels, record.dataset_id) == (request, {"team": "a"}, dataset.digest)
    assert record.started_at == record.finished_at == record.created_at
    assert record.report is not None
    assert await services.fits.get(record.id) == record
    assert await services.fits.trajectory(record.id) is None
    assert await services.datasets.get(dataset.digest) is not None
    assert [await _count(services, table) for table in ("dataset", "fit", "procrastinate_jobs")] == [1, 1, 0]


async def test_solved_fits_and_queued_ones_stand_in_one_list(services: Services, dataset: Dataset) -> None:
    solved = await _store(services, dataset, labels={"n": "1"})
    queued = await services.fits.submit(Asked(dataset, TASK, {}, {"n": "1"}), fresh=True)
    assert await _page(services, labels={"n": "1"}) == [queued, solved]
    assert await _page(services, status="succeeded") == [solved]


async def test_many_may_store_a_new_dataset_at_once(services: Services) -> None:
    datasets = [Dataset.from_columns({"x": [1.0, 2.0, n], "y": [1.0, 3.0, 2.0]}) for n in range(5)]
    stored = await asyncio.gather(*(_store(services, dataset) for dataset in datasets * 10))
    assert len({record.id for record in stored}) == 50
    assert [await _count(services, table) for table in ("dataset", "fit")] == [5, 50]


async def test_a_solved_fit_that_the_database_refuses_leaves_nothing(services: Services, dataset: Dataset) -> None:
    async with services.pool.connection() as connection:
        await connection.execute("ALTER TABLE fit ADD CONSTRAINT forbidden CHECK (request->>'a' IS NULL)")
    try:
        with pytest.raises(Exception, match="forbidden"):
            await _store(services, dataset, request={"a": 1})
    finally:
        async with services.pool.connection() as connection:
            await connection.execute("ALTER TABLE fit DROP CONSTRAINT forbidden")
    assert [await _count(services, table) for table in ("dataset", "fit")] == [0, 0]


async def test_an_unknown_fit_is_none(services: Services) -> None:
    assert await services.fits.get(uuid4()) is None
    assert await services.fits.trajectory(uuid4()) is None


async def _page(services: Services, **wanted: Any) -> list[FitRecord]:
    return await services.fits.page(
        **{"status": None, "parent": None, "labels": {}, "size": 10, "before": None} | wanted
    )


async def test_pages_go_from_the_newest_to_the_oldest(services: Services, dataset: Dataset) -> None:
    fits = [await services.fits.submit(Asked(dataset, TASK, {}, {"n": str(n % 2), "all": "yes"})) for n in range(5)]
    newest_first = fits[::-1]
    assert await _page(services) == newest_first
    first = await _page(services, size=2)
    rest = await _page(services, before=(first[-1].created_at, first[-1].id))
    assert first + rest == newest_first
    assert await _page(services, labels={"n": "1"}) == [fits[3], fits[1]]
    assert await _page(services, labels={"n": "1", "all": "no"}) == []
    assert await _page(services, status="queued", labels={"all": "yes"}, size=1) == [fits[4]]
    assert await _page(services, status="running") == []


async def test_where_a_fit_comes_from_is_kept(services: Services, dataset: Dataset) -> None:
    parent = await services.fits.submit(Asked(dataset, TASK, {}))
    queued = await services.fits.submit(Asked(dataset, TASK, {}, parent=parent.id))
    solved = await _store(services, dataset, parent=parent.id)
    assert (parent.parent, queued.parent, solved.parent) == (None, parent.id, parent.id)
    assert [await services.fits.get(record.id) for record in (queued, solved)] == [queued, solved]
    assert await _page(services, parent=parent.id) == [solved, queued]
    assert await _page(services, parent=parent.id, status="queued") == [queued]
    assert await _page(services, parent=solved.id) == []


async def test_a_fit_keeps_its_parents_id_when_that_is_deleted(services: Services, dataset: Dataset) -> None:
    parent = await _store(services, dataset)
    child = await _store(services, dataset, parent=parent.id)
    async with services.pool.connection() as connection:
        await connection.execute("DELETE FROM fit WHERE id = %s", [parent.id])
    assert await services.fits.get(child.id) == child
