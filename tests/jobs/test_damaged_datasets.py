"""A fit whose data are no longer what was submitted, or cannot be had for the moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from service.bootstrap import Services, open_services
from service.datasets.files import path_of
from service.datasets.store import INLINE_BYTES
from service.fitting.data import Dataset
from service.fitting.solver import Exact
from service.jobs.records import FitRecord
from service.settings import Settings
from tests.jobs.conftest import JobOf, MakeWork, Submit

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "datasets"
    folder.mkdir()
    return folder


@pytest.fixture
async def services(database_url: str, folder: Path) -> AsyncIterator[Services]:
    async with open_services(Settings(database_url=database_url, dataset_store=str(folder))) as parts:
        yield parts


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(("x", "y"), np.random.default_rng().normal(size=(INLINE_BYTES // 16 + 1, 2)))


async def _read(services: Services, record: FitRecord) -> FitRecord:
    found = await services.fits.get(record.id)
    assert found is not None
    return found


async def test_a_file_that_was_cut_short_fails_its_fit(
    services: Services, submit: Submit, make_work: MakeWork, job_of: JobOf, folder: Path, dataset: Dataset
) -> None:
    record = await submit(Exact())
    file = folder / path_of(dataset.digest)
    file.write_bytes(file.read_bytes()[:-8])
    await make_work()(record.id, await job_of(record.id))
    found = await _read(services, record)
    assert (found.status, found.error and found.error.code) == ("failed", "dataset_damaged")
    assert found.error is not None
    assert found.error.message == (
        f"The file of the dataset {dataset.digest} is damaged: its content has another digest. Submit the data again."
    )
    again = await submit(Exact())
    await make_work()(again.id, await job_of(again.id))
    assert (await _read(services, again)).status == "succeeded"


async def test_a_store_that_is_away_is_waited_for(
    services: Services,
    submit: Submit,
    make_work: MakeWork,
    job_of: JobOf,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = await submit(Exact())
    elsewhere = folder.rename(folder.with_name("unmounted"))  # noqa: ASYNC240 - a test, of a folder
    working = asyncio.create_task(make_work()(record.id, await job_of(record.id)))
    async with asyncio.timeout(30):
        while "cannot be used: No such file or directory" not in caplog.text:  # noqa: ASYNC110 - a log is read
            await asyncio.sleep(0.01)
    assert (await _read(services, record)).status == "running"
    elsewhere.rename(folder)
    await working
    found = await _read(services, record)
    assert (found.status, found.attempt) == ("succeeded", 1)
