"""Predictions over HTTP: by the fit and by its reference, with intervals, extrapolation flagged row by row."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest

GENERATOR = np.random.default_rng(4)
X, NOISE = GENERATOR.uniform(-1, 1, size=(20, 2)), GENERATOR.normal(size=(20, 2))
Y = 1.0 + X @ [[1.0, -1.0], [2.0, 0.5]] + NOISE
COLUMNS = {"a": X[:, 0].tolist(), "b": X[:, 1].tolist(), "y1": Y[:, 0].tolist(), "y2": Y[:, 1].tolist()}
BODY: dict[str, Any] = {"data": {"columns": COLUMNS}, "solver": {"kind": "exact"}}
LATER = {"prefer": "respond-async"}
NEW = np.array([[0.25, -0.5], [0.0, 0.0], [1.5, -3.0]])
#: The 0.975 and 0.95 quantiles of Student's t with 17 degrees of freedom: scipy.stats.t.ppf, SciPy 1.17.1.
T_975, T_95 = 2.1098155778333156, 1.7396067260750725


def _fitted(api: httpx.Client, body: dict[str, Any] = BODY) -> str:
    answer = api.post("/v1/fits", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["links"]["predictions"])


@pytest.fixture(scope="module")
def path(api: httpx.Client) -> str:
    """Where to ask an exact fit of two features and two targets."""
    return _fitted(api)


def _predicted(api: httpx.Client, path: str, data: Any, **options: Any) -> dict[str, Any]:
    answer = api.post(path, json={"data": data, **options})
    assert answer.status_code == 200, answer.text
    predicted: dict[str, Any] = answer.json()
    return predicted


def _close(values: Any, expected: Any) -> None:
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("level", "quantile"), [(None, T_975), (0.95, T_975), (0.9, T_95)])
def test_values_and_intervals_are_the_textbooks(
    api: httpx.Client, path: str, level: float | None, quantile: float
) -> None:
    answer = _predicted(api, path, {"x": NEW.tolist()}, confidence_level=level)
    assert (answer["rows"], answer["confidence_level"]) == (3, level or 0.95)
    a, rows = np.column_stack([np.ones(20), X]), np.column_stack([np.ones(3), NEW])
    parameters = np.linalg.lstsq(a, Y)[0]
    deviation = np.sqrt(np.square(Y - a @ parameters).sum(axis=0) / 17)
    leverage = np.einsum("rj,jk,rk->r", rows, np.linalg.inv(a.T @ a), rows)
    for k, target in enumerate(answer["targets"]):
        assert (target["target"], target["reason"]) == (f"y{k + 1}", None)
        estimate, std_error = rows @ parameters[:, k], deviation[k] * np.sqrt(leverage)
        reach = quantile * std_error, quantile * deviation[k] * np.sqrt(1 + leverage)
        _close(target["std_error"], std_error)
        for part in (target["fit"], target["reference"]):
            _close(part["estimate"], estimate)
            _close(part["confidence_low"], estimate - reach[0])
            _close(part["confidence_high"], estimate + reach[0])
            _close(part["prediction_low"], estimate - reach[1])
            _close(part["prediction_high"], estimate + reach[1])
    _close(answer["extrapolation"]["leverage"], leverage)


def test_rows_beyond_the_data_are_flagged(api: httpx.Client, path: str) -> None:
    # In their ranges, but not together: the corner that the data leave out.
    flags = _predicted(api, path, {"x": [*NEW.tolist(), [0.0, 9.0]]})["extrapolation"]
    assert flags["outside"] == [[], [], ["a", "b"], ["b"]]
    assert flags["beyond_leverage"] == [False, False, True, True]
    assert flags["estimable"] == [True] * 4


def test_columns_may_come_in_any_order(api: httpx.Client, path: str) -> None:
    by_name = {"columns": {"b": NEW[:, 1].tolist(), "a": NEW[:, 0].tolist()}}
    assert _predicted(api, path, by_name) == _predicted(api, path, {"x": NEW.tolist()})


def test_the_fits_own_level_is_kept(api: httpx.Client) -> None:
    path = _fitted(api, BODY | {"inference": {"confidence_level": 0.9}})
    assert _predicted(api, path, {"x": NEW.tolist()})["confidence_level"] == 0.9


def test_a_descent_predicts_by_its_own_coefficients(api: httpx.Client, finish: Callable[..., None]) -> None:
    body = {"data": {"columns": {'x "quoted", even': [1, 2, 3, 4], "y": [1, 2, 4, 4]}}}
    fit = api.post("/v1/fits", json=body, headers=LATER).json()
    early = api.post(fit["links"]["predictions"], json={"data": {"x": [5]}})
    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "not-finished", "1")
    finish(fit["id"], 2)
    answer = _predicted(api, fit["links"]["predictions"], {"x": [5, 7]})
    [target] = answer["targets"]
    # The stand-in worker's estimates are 1.5 and 1.5; the least-squares line is 0 + 1.1 x.
    _close(target["fit"]["estimate"], [9.0, 12.0])
    _close(target["reference"]["estimate"], [5.5, 7.7])
    widths = [
        np.subtract(part["confidence_high"], part["confidence_low"]) for part in (target["fit"], target["reference"])
    ]
    _close(*widths)
    assert answer["extrapolation"]["outside"] == [['x "quoted", even']] * 2


def test_powers_need_the_feature_alone(api: httpx.Client) -> None:
    x = [0.0, 1.0, 2.0, 3.0, 4.0]
    body = {
        "data": {"columns": {"x": x, "y": [1 + v + v**2 for v in x], "w": [1, 2, 1, 0, 1]}},
        "model": {"degree": 2, "weights": "w"},
        "solver": {"kind": "exact"},
    }
    answer = _predicted(api, _fitted(api, body), {"columns": {"x": [10.0]}})
    _close(answer["targets"][0]["reference"]["estimate"], [111.0])


def test_what_the_data_do_not_determine_is_said(api: httpx.Client) -> None:
    columns = {"a": [1, 2, 3, 4], "b": [2, 4, 6, 8], "y": [1, 2, 4, 4]}
    path = _fitted(api, {"data": {"columns": columns}, "solver": {"kind": "exact"}})
    answer = _predicted(api, path, {"columns": {"a": [2.5, 1.0], "b": [5.0, 0.0]}})
    assert answer["extrapolation"]["estimable"] == [True, False]
    assert answer["extrapolation"]["leverage"][1] is None
    [target] = answer["targets"]
    assert target["reference"]["confidence_low"][0] is not None
    assert target["reference"]["confidence_low"][1] is None
    assert "Row 1" in target["reason"]


def test_a_penalised_fit_has_no_intervals(api: httpx.Client) -> None:
    path = _fitted(api, BODY | {"solver": {"kind": "exact", "penalty": {"strength": 0.5}}})
    answer = _predicted(api, path, {"x": NEW.tolist()})
    for target in answer["targets"]:
        assert None not in target["reference"]["estimate"]
        assert target["std_error"] == target["reference"]["prediction_low"] == [None] * 3
        assert "penalised" in target["reason"]


def test_a_fit_without_features_predicts_rows_without_numbers(api: httpx.Client) -> None:
    path = _fitted(api, {"data": {"columns": {"y": [1, 2, 6]}}, "solver": {"kind": "exact"}})
    answer = _predicted(api, path, {"x": [[], []]})
    _close(answer["targets"][0]["reference"]["estimate"], [3.0, 3.0])
    assert answer["extrapolation"]["outside"] == [[], []]
    assert answer["extrapolation"]["beyond_leverage"] == [False, False]
    refused = api.post(path, json={"data": {"columns": {"y": [1]}}}).json()["errors"][0]
    assert (refused["pointer"], "no features" in refused["allowed"]) == ("/data/columns/y", True)


def test_values_that_leave_float64_are_null(api: httpx.Client, path: str) -> None:
    ordinary = _predicted(api, path, {"x": [[0, 0]]})["targets"][0]["reference"]["estimate"]
    answer = _predicted(api, path, {"x": [[1.7e308, 1.7e308], [0, 0]]})
    assert answer["targets"][0]["reference"]["estimate"] == [None, *ordinary]
    assert "float64" in answer["targets"][0]["reason"]


# Body, pointer of the first fault, and a piece of what is allowed there.
INVALID: list[tuple[Any, str, str]] = [
    ({}, "/data", "no default"),
    ([], "", "an object"),
    (None, "", "an object"),
    ({"data": {}}, "/data", '{"columns": {..}} or {"x": [..]}'),
    ({"data": None}, "/data", '{"columns"'),
    ({"data": {"dataset": "0" * 64}}, "/data", '{"columns"'),
    ({"data": {"x": [[1, 2]], "y": [1]}}, "/data/y", "x"),
    ({"data": {"columns": {"a": [1], "b": [2]}, "x": [1]}}, "/data/x", "columns"),
    ({"data": {"x": [[1, 2]]}, "rows": 3}, "/rows", "data, confidence_level"),
    ({"data": {"columns": {}}}, "/data/columns", "at least 1"),
    ({"data": {"columns": {"a": [1]}}}, "/data/columns/b", "'a', 'b'"),
    ({"data": {"columns": {"a": [1], "b": [2], "y1": [3]}}}, "/data/columns/y1", "'a', 'b'"),
    ({"data": {"columns": {"a": [1], "b": [2, 3]}}}, "/data/columns/b", "equal length"),
    ({"data": {"columns": {"a": [], "b": []}}}, "/data/columns/a", "at least 1"),
    ({"data": {"columns": {"a": [1], "b": ["2"]}}}, "/data/columns/b/0", "finite number"),
    ({"data": {"columns": {"a": [1], "b": [True]}}}, "/data/columns/b/0", "finite number"),
    ({"data": {"columns": {"a": [1], "b": [float("nan")]}}}, "/data/columns/b/0", "finite number"),
    ({"data": {"columns": {"a": [1], "b": [10**400]}}}, "/data/columns/b/0", "finite number"),
    ({"data": {"columns": {"a": 1, "b": [2]}}}, "/data/columns/a", "a list"),
    ({"data": {"columns": [[1, 2]]}}, "/data/columns", "an object"),
    ({"data": {"x": []}}, "/data/x", "at least 1"),
    ({"data": {"x": [1, 2]}}, "/data/x/0", "2 numbers a row"),
    ({"data": {"x": [[1, 2], [3]]}}, "/data/x/1", "2 numbers a row"),
    ({"data": {"x": [[]]}}, "/data/x/0", "2 numbers a row"),
    ({"data": {"x": [[1, 2], 3]}}, "/data/x/1", "a list"),
    ({"data": {"x": [[1, None]]}}, "/data/x/0/1", "finite number"),
    ({"data": {"x": [[1, float("inf")]]}}, "/data/x/0/1", "finite number"),
    ({"data": {"x": "1"}}, "/data/x", "a list"),
    ({"data": {"x": [0] * 100_001}}, "/data/x", "at most 100000"),
    ({"data": {"x": [[0, 0]]}, "confidence_level": 0}, "/confidence_level", "more than 0"),
    ({"data": {"x": [[0, 0]]}, "confidence_level": 1}, "/confidence_level", "less than 1"),
    ({"data": {"x": [[0, 0]]}, "confidence_level": True}, "/confidence_level", "finite number"),
    ({"data": {"x": [[0, 0]]}, "confidence_level": "0.9"}, "/confidence_level", "finite number"),
    ({"data": {"x": [[0, 0]]}, "confidence_level": float("nan")}, "/confidence_level", "finite number"),
]


@pytest.mark.parametrize(("body", "pointer", "allowed"), INVALID, ids=[str(body)[:60] for body, *_ in INVALID])
def test_an_invalid_body_is_refused_at_its_place(
    api: httpx.Client, path: str, body: Any, pointer: str, allowed: str
) -> None:
    answer = api.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), answer.text
    fault = answer.json()["errors"][0]
    assert fault["pointer"] == pointer
    assert allowed in fault["allowed"]
    assert fault["message"].endswith(".")
    assert "see /openapi.json" not in fault["allowed"]


def test_more_rows_than_are_answered_for_so_many_targets_are_refused(api: httpx.Client) -> None:
    columns = {name: [0.0, 1.0, 3.0] for name in ("x", *(f"y{k}" for k in range(1, 202)))}
    path = _fitted(api, {"data": {"columns": columns}, "solver": {"kind": "exact"}})
    answer = api.post(path, json={"data": {"x": [0.0] * 1000}})
    [fault] = answer.json()["errors"]
    assert (answer.status_code, fault["pointer"], fault["allowed"]) == (422, "/data", "at most 995 rows")


def test_a_fit_that_is_not_there_predicts_nothing(api: httpx.Client, fail: Callable[[str], None]) -> None:
    new = {"data": {"x": [1]}}
    assert api.post(f"/v1/fits/{uuid4()}/predictions", json=new).status_code == 404
    fit = api.post("/v1/fits", json={"data": {"x": [1, 2], "y": [1, 2]}}, headers=LATER).json()
    fail(fit["id"])
    assert api.post(fit["links"]["predictions"], json=new).status_code == 404
