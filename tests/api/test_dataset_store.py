"""Large datasets in a store of files: where they lie, when they go, and what a client hears while it is away."""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.bootstrap import Services, open_services
from service.datasets.files import path_of
from service.datasets.store import INLINE_BYTES
from service.settings import Settings
from tests.api.conftest import Run

QUEUED = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def services(database_url: str, run: Run[Any], folder: Path) -> Iterator[Services]:
    """The parts behind the application, told of a store."""
    stack = AsyncExitStack()
    settings = Settings(database_url=database_url, dataset_store=str(folder))
    yield run(stack.enter_async_context(open_services(settings)))
    run(stack.aclose())


def _body(rows: int) -> dict[str, Any]:
    columns = np.random.default_rng().normal(size=(2, rows)).tolist()
    return {"data": {"columns": dict(zip("xy", columns, strict=True))}, "solver": {"kind": "exact"}}


LARGE = INLINE_BYTES // 16 + 1


def test_a_large_dataset_is_a_file_until_its_last_fit_goes(api: httpx.Client, folder: Path) -> None:
    body = _body(LARGE)
    first, second = (api.post("/v1/fits", json=body, headers=QUEUED).json() for _ in range(2))
    file = folder / path_of(first["dataset"])
    assert file.stat().st_size == 16 * LARGE
    assert api.delete(first["links"]["self"]).status_code == 204
    assert file.exists()
    assert api.delete(second["links"]["self"]).status_code == 204
    assert not file.exists()


def test_what_is_solved_at_once_is_stored_likewise(api: httpx.Client, folder: Path) -> None:
    small = api.post("/v1/fits", json=_body(50)).json()
    assert small["status"] == "succeeded"
    assert not (folder / path_of(small["dataset"])).exists()


def test_while_the_store_is_away_nothing_large_is_taken(
    api: httpx.Client, folder: Path, stored_rows: Callable[[], int]
) -> None:
    rows, elsewhere = stored_rows(), folder.with_name("unmounted")
    folder.rename(elsewhere)
    try:
        answer = api.post("/v1/fits", json=_body(LARGE), headers=QUEUED)
        assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert str(folder) not in answer.text
        assert stored_rows() == rows
        assert api.post("/v1/fits", json=_body(50), headers=QUEUED).status_code == 202
    finally:
        elsewhere.rename(folder)
    assert api.post("/v1/fits", json=_body(LARGE), headers=QUEUED).status_code == 202
