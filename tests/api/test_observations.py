"""The rows of a fit over HTTP: computed when they are asked for, in every format."""

import asyncio
import csv
import io
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pyarrow.ipc
import pyarrow.parquet
import pytest

from service.api import recomputing
from service.api.observation_columns import FIELDS
from service.fitting.exact import references

CSV, NDJSON = "text/csv", "application/x-ndjson"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
GENERATOR = np.random.default_rng(3)
X, NOISE = GENERATOR.normal(size=(30, 2)), GENERATOR.normal(size=(30, 2))
Y = 1.0 + X @ [[1.0, -1.0], [2.0, 0.5]] + NOISE
LATER = {"prefer": "respond-async"}
BODY: dict[str, Any] = {"data": {"x": X.tolist(), "y": Y.tolist()}, "solver": {"kind": "exact"}}


def _fitted(api: httpx.Client, body: dict[str, Any] = BODY) -> str:
    answer = api.post("/v1/fits", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["links"]["observations"])


@pytest.fixture(scope="module")
def path(api: httpx.Client) -> str:
    """The observations of an exact fit of two targets."""
    return _fitted(api)


def _columns(api: httpx.Client, path: str) -> dict[str, Any]:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    columns: dict[str, Any] = answer.json()["columns"]
    return columns


def _textbook(y: Any) -> dict[str, Any]:
    """By the formulas of Belsley, Kuh and Welsch, rows left out one by one where they say so."""
    a = np.column_stack([np.ones(len(X)), X])
    n, m = a.shape
    hat = a @ np.linalg.solve(a.T @ a, a.T)
    leverage, residual = np.diag(hat), y - hat @ y
    variance = residual @ residual / (n - m)
    internal = residual / np.sqrt(variance * (1 - leverage))
    left_out = np.array([_variance_without(a, y, i) for i in range(n)])
    external = residual / np.sqrt(left_out * (1 - leverage))
    return {
        "row": np.arange(n),
        "observed": y,
        "fitted": hat @ y,
        "residual": residual,
        "leverage": leverage,
        "studentised_internal": internal,
        "studentised_external": external,
        "cooks_distance": internal**2 * leverage / ((1 - leverage) * m),
        "dffits": external * np.sqrt(leverage / (1 - leverage)),
    }


def _variance_without(a: Any, y: Any, row: int) -> float:
    others = np.arange(len(y)) != row
    left, target = a[others], y[others]
    residual = target - left @ np.linalg.lstsq(left, target)[0]
    squares = float(residual @ residual)
    return squares / int(len(left) - a.shape[1])


@pytest.mark.parametrize(("query", "target"), [("", 0), ("?target=y1", 0), ("?target=y2", 1)])
def test_every_row_as_the_textbook_has_it(api: httpx.Client, path: str, query: str, target: int) -> None:
    answer = api.get(path + query).json()
    assert (answer["target"], answer["targets"], answer["rows"]) == (f"y{target + 1}", ["y1", "y2"], 30)
    assert answer["reason"] is None
    expected = _textbook(Y[:, target])
    assert tuple(answer["columns"]) == FIELDS == tuple(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(answer["columns"][name], values, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_descent_has_the_rows_of_its_reference(api: httpx.Client, path: str, finish: Callable[..., None]) -> None:
    fit = api.post("/v1/fits", json={**BODY, "solver": {"kind": "descent"}}, headers=LATER).json()
    early = api.get(fit["links"]["observations"])
    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "not-finished", "1")
    finish(fit["id"], 2)
    # What the stand-in worker reports has one target only, which is enough to be asked about.
    assert api.get(f"{fit['links']['observations']}?target=y").json()["columns"] == _columns(api, path)


@pytest.mark.parametrize(
    ("query", "rows"),
    [("from=28", [28, 29]), ("to=1", [0, 1]), ("from=4&to=4", [4]), ("from=30", []), ("limit=3", [0, 14, 29])],
)
def test_rows_and_columns_are_chosen(api: httpx.Client, path: str, query: str, rows: list[int]) -> None:
    columns = _columns(api, f"{path}?fields=leverage,row&{query}")
    assert {name for name, values in columns.items() if values is not None} == {"row", "leverage"}
    assert columns["row"] == rows
    whole = _columns(api, path)["leverage"]
    assert columns["leverage"] == [whole[row] for row in rows]


def test_every_format_holds_the_same(api: httpx.Client, path: str) -> None:
    columns = _columns(api, path)

    def sent(accept: str) -> bytes:
        answer = api.get(path, headers={"accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == accept
        assert answer.headers["vary"] == "Accept"
        return answer.content

    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert [json.loads(line) for line in sent(NDJSON).splitlines()] == rows
    header, *lines = csv.reader(io.StringIO(sent(CSV).decode()))
    assert tuple(header) == FIELDS
    assert [float(number) for number in lines[7]] == list(rows[7].values())
    assert pyarrow.ipc.open_stream(sent(ARROW)).read_all().to_pydict() == columns
    assert pyarrow.parquet.read_table(io.BytesIO(sent(PARQUET))).to_pydict() == columns


def test_what_does_not_exist_is_null_with_the_reason(api: httpx.Client) -> None:
    saturated = _fitted(api, {"data": {"x": [1, 2], "y": [1, 3]}, "solver": {"kind": "exact"}})
    answer = api.get(saturated).json()
    assert answer["columns"]["residual"] == pytest.approx([0, 0], abs=1e-15)
    assert answer["columns"]["studentised_internal"] == [None, None]
    assert "degree of freedom" in answer["reason"]
    penalty = {"kind": "exact", "penalty": {"strength": 0.1}}
    penalised = api.get(_fitted(api, BODY | {"solver": penalty})).json()
    assert penalised["columns"]["cooks_distance"] == [None] * 30
    assert None not in penalised["columns"]["leverage"]
    assert "penalised" in penalised["reason"]


def test_a_row_of_weight_0_is_fitted_and_weighs_nothing(api: httpx.Client) -> None:
    columns = {"x": [1, 2, 3, 4, 9], "y": [1, 2, 2, 5, 0], "w": [1, 2, 1, 2, 0]}
    body = {"data": {"columns": columns}, "model": {"weights": "w"}, "solver": {"kind": "exact"}}
    answer = api.get(_fitted(api, body)).json()
    assert answer["columns"]["leverage"][4] == 0
    assert answer["columns"]["fitted"][4] - answer["columns"]["fitted"][3] == pytest.approx(
        5 * (answer["columns"]["fitted"][1] - answer["columns"]["fitted"][0])
    )
    assert "weight 0" in answer["reason"]


def test_references_are_recomputed_one_at_a_time(
    app: Any, run: Callable[[Any], Any], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = 0

    def counted(*given: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return references(*given)

    async def scenario() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await asyncio.gather(*(client.get(path) for _ in range(4)))

    monkeypatch.setattr(recomputing, "references", counted)
    answers = run(scenario())
    assert [answer.status_code for answer in answers] == [200] * 4
    assert most == 1


def test_a_fit_deleted_in_the_meantime_is_not_found(
    api: httpx.Client, services: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: object) -> None:
        return None

    monkeypatch.setattr(services.fits, "task", gone)
    answer = api.get(path)
    assert (answer.status_code, "deleted" in answer.json()["detail"]) == (404, True)


def test_a_fit_that_failed_has_no_observations(api: httpx.Client, fail: Callable[[str], None]) -> None:
    fit = api.post("/v1/fits", json={**BODY, "solver": {"kind": "descent"}}, headers=LATER).json()
    fail(fit["id"])
    assert api.get(fit["links"]["observations"]).status_code == 404


def test_an_unknown_target_is_told_those_there_are(api: httpx.Client, path: str) -> None:
    answer = api.get(f"{path}?target=z")
    [fault] = answer.json()["errors"]
    assert (answer.status_code, fault["parameter"], fault["allowed"]) == (422, "target", "y1, y2")
