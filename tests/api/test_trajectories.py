"""A trajectory's rows, columns and formats."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from service.api.formats import WRITERS
from service.api.tables import json_columns
from service.api.trajectory_columns import FIELDS, nothing, select
from service.fitting.trajectory import Trajectory
from tests.fitting.trajectories import account, trajectory

BODY = {"data": {"columns": {'x "quoted", even': [1, 2, 3], "y": [1, 2, 4]}}}
FLAT = [*FIELDS[:-1], "coefficient:y:(intercept)", 'coefficient:y:x "quoted", even']
CSV, NDJSON = "text/csv", "application/x-ndjson"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"


@pytest.fixture
def path(api: httpx.Client, finish: Callable[..., None]) -> str:
    """The trajectory of a fit of 100 steps."""
    fit = api.post("/v1/fits", json=BODY, headers={"prefer": "respond-async"}).json()
    finish(fit["id"], 100)
    return str(fit["links"]["trajectory"])


def _columns(api: httpx.Client, path: str) -> dict[str, Any]:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    columns: dict[str, Any] = answer.json()["columns"]
    return columns


def test_everything_comes_as_json_columns(api: httpx.Client, path: str) -> None:
    answer = api.get(path).json()
    assert {name: answer[name] for name in ("recorded", "total_steps", "units", "href")} == {
        "recorded": 101,
        "total_steps": 100,
        "units": "original",
        "href": path,
    }
    assert tuple(answer["columns"]) == FIELDS
    assert answer["columns"]["step"] == list(range(101))
    assert answer["columns"]["learning_rate"][:2] == [None, 0.01]
    assert answer["columns"]["coefficients"]["y"]['x "quoted", even'][2] == -2.0


@pytest.mark.parametrize(
    ("query", "steps"),
    [
        ("from=98", [98, 99, 100]),
        ("to=2", [0, 1, 2]),
        ("from=5&to=7", [5, 6, 7]),
        ("from=5&to=5", [5]),
        ("from=101", []),
        ("limit=2", [0, 100]),
        ("limit=3", [0, 50, 100]),
        ("from=10&to=20&limit=3", [10, 15, 20]),
        ("limit=5000", list(range(101))),
    ],
)
def test_rows_are_chosen(api: httpx.Client, path: str, query: str, steps: list[int]) -> None:
    assert _columns(api, f"{path}?{query}")["step"] == steps


def test_columns_are_chosen(api: httpx.Client, path: str) -> None:
    columns = _columns(api, f"{path}?fields=loss, step,loss&to=1")
    assert {name: values for name, values in columns.items() if values is not None} == {
        "loss": [0.0, 1.0],
        "step": [0, 1],
    }


def test_scaled_units_are_given_on_request(api: httpx.Client, path: str) -> None:
    columns = _columns(api, f"{path}?units=scaled&to=1")
    assert columns["loss"] == [0.0, 10_000.0]
    assert columns["coefficients"]["y"]["(intercept)"] == [0.0, 100.0]
    assert columns["gradient_norm"] == pytest.approx([0.0, 100 * 2**0.5])


def test_scaled_units_are_the_users_where_nothing_was_scaled() -> None:
    plain = Trajectory(replace(account(2), is_scaled=False), trajectory(2).records)
    table = select(plain, FIELDS, "scaled")
    assert table.plain["loss"].tolist() == [0.0, 1.0, 4.0]


def test_csv(api: httpx.Client, path: str) -> None:
    answer = api.get(path, headers={"accept": CSV})
    assert answer.headers["content-type"].startswith(CSV)
    assert answer.headers["vary"] == "Accept"
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header == FLAT
    assert len(rows) == 101
    assert rows[0][header.index("learning_rate")] == ""
    assert float(rows[7][header.index("loss")]) == pytest.approx(49.0)


def test_ndjson(api: httpx.Client, path: str) -> None:
    answer = api.get(f"{path}?from=2&to=3&fields=step,batch_loss,coefficients", headers={"accept": NDJSON})
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {
            "step": step,
            "batch_loss": float(step),
            "coefficients": {"y": {"(intercept)": float(step), 'x "quoted", even': -float(step)}},
        }
        for step in (2, 3)
    ]
    only = api.get(f"{path}?to=1&fields=coefficients", headers={"accept": NDJSON})
    assert [list(json.loads(line)) for line in only.text.splitlines()] == [["coefficients"]] * 2
    bare = api.get(f"{path}?to=0&fields=learning_rate", headers={"accept": NDJSON})
    assert bare.text == '{"learning_rate":null}\n'


def test_parquet_and_arrow(api: httpx.Client, path: str) -> None:
    for media_type in (PARQUET, ARROW):
        answer = api.get(path, headers={"accept": media_type})
        assert answer.headers["content-type"] == media_type
        source = io.BytesIO(answer.content)
        table = parquet.read_table(source) if media_type == PARQUET else pyarrow.ipc.open_stream(source).read_all()
        assert table.column_names == FLAT
        assert table["step"].to_pylist() == list(range(101))
        assert table["batch_loss"].to_pylist()[:2] == [None, 1.0]


def _flat(columns: dict[str, Any]) -> dict[str, list[Any]]:
    """JSON's columns as the other formats name them."""
    flat = {name: values for name, values in columns.items() if name != "coefficients" and values is not None}
    for target, terms in (columns["coefficients"] or {}).items():
        flat |= {f"coefficient:{target}:{term}": values for term, values in terms.items()}
    return flat


def _read(answer: httpx.Response, media_type: str) -> dict[str, list[Any]]:
    if media_type == NDJSON:
        rows = [json.loads(line) for line in answer.text.splitlines()]
        names = [name for name in rows[0] if name != "coefficients"]
        columns = {name: [row[name] for row in rows] for name in names}
        for target, terms in rows[0].get("coefficients", {}).items():
            for term in terms:
                columns[f"coefficient:{target}:{term}"] = [row["coefficients"][target][term] for row in rows]
        return columns
    if media_type == CSV:
        header, *lines = csv.reader(io.StringIO(answer.text))
        return {
            name: [float(text) if text else None for text in column]
            for name, column in zip(header, zip(*lines, strict=True), strict=True)
        }
    source = io.BytesIO(answer.content)
    table = parquet.read_table(source) if media_type == PARQUET else pyarrow.ipc.open_stream(source).read_all()
    return {name: table[name].to_pylist() for name in table.column_names}


@pytest.mark.parametrize("media_type", [CSV, NDJSON, PARQUET, ARROW])
@pytest.mark.parametrize("query", ["", "?limit=7&units=scaled", "?from=3&to=9&fields=loss,step,coefficients"])
def test_all_formats_hold_the_same(api: httpx.Client, path: str, media_type: str, query: str) -> None:
    answer = api.get(path + query, headers={"accept": media_type})
    expected = _flat(_columns(api, path + query))
    read = _read(answer, media_type)
    assert {name: read[name] for name in expected} == expected
    assert len(read) == len(expected)


def test_thinning_keeps_the_row_of_least_loss(api: httpx.Client, path: str) -> None:
    columns = _columns(api, f"{path}?limit=4&from=1")
    assert columns["step"] == [1, 34, 67, 100]
    assert _columns(api, f"{path}?limit=4")["loss"][0] == 0.0


def test_every_format_can_be_empty(api: httpx.Client, path: str) -> None:
    for media_type in (CSV, NDJSON, PARQUET, ARROW):
        answer = api.get(f"{path}?from=101", headers={"accept": media_type})
        assert answer.status_code == 200
    assert api.get(f"{path}?from=101", headers={"accept": NDJSON}).content == b""


def test_long_trajectories_come_in_pieces() -> None:
    table = select(trajectory(5_000))
    assert len(list(WRITERS[CSV](table))) == 3
    lines = b"".join(WRITERS[NDJSON](table)).splitlines()
    assert len(lines) == 5_001
    arrow = pyarrow.ipc.open_stream(b"".join(WRITERS[ARROW](table))).read_all()
    assert arrow["step"].to_pylist() == list(range(5_001))
    rows = list(csv.reader(io.StringIO(b"".join(WRITERS[CSV](table)).decode())))
    assert len(rows) == 5_002


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "application/json"),
        ("text/*", CSV),
        ("application/json;q=0.5, text/csv", CSV),
        ("application/json, text/csv", "application/json"),
        ("text/csv;q=0.1, application/x-ndjson;q=0.2", NDJSON),
        ("*/*, application/json;q=0", CSV),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
    ],
)
def test_the_format_follows_accept(api: httpx.Client, path: str, accept: str, chosen: str) -> None:
    answer = api.get(path, headers={"accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "text/csv;q=x"])
def test_what_is_not_on_offer_is_not_acceptable(api: httpx.Client, path: str, accept: str) -> None:
    answer = api.get(path, headers={"accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")
    assert CSV in answer.json()["detail"]


def test_an_unfinished_fit_has_no_trajectory_yet(api: httpx.Client) -> None:
    fit = api.post("/v1/fits", json=BODY, headers={"prefer": "respond-async"}).json()
    answer = api.get(fit["links"]["trajectory"])
    assert (answer.status_code, answer.json()["code"]) == (409, "not-finished")
    assert answer.headers["retry-after"] == "1"


def test_an_exact_fit_has_no_rows(api: httpx.Client) -> None:
    fit = api.post("/v1/fits", json=BODY | {"solver": {"kind": "exact"}}).json()
    answer = api.get(fit["links"]["trajectory"])
    assert answer.status_code == 200
    assert (answer.json()["recorded"], answer.json()["total_steps"]) == (0, 0)
    assert answer.json()["columns"]["step"] == []
    assert answer.json()["columns"]["coefficients"] == {}
    for media_type in (CSV, NDJSON, PARQUET, ARROW):
        assert api.get(fit["links"]["trajectory"], headers={"accept": media_type}).status_code == 200


def test_coefficients_that_were_not_recorded_are_null() -> None:
    bare = account(2, keeps_parameters=False)
    columns = json_columns(select(Trajectory(bare, np.zeros(3, bare.layout))), FIELDS)
    assert columns["coefficients"] is None
    assert json_columns(nothing(), FIELDS)["coefficients"] == {}
