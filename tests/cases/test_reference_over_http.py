"""The exact fit as a client sees it, on a whole service: NIST's certified values, and data nobody should send."""

import json
import math
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.fitting.comparison import matching_digits

DATA = Path(__file__).parent.parent / "fitting" / "data" / "nist_strd.json"
NIST: dict[str, Any] = json.loads(DATA.read_text())


def _fit(address: str, body: dict[str, Any], prefer: str = "wait=60") -> dict[str, Any]:
    """The fit once it is finished; sent to the queue first where `prefer` asks for that."""
    headers = {"Content-Type": "application/json", "Prefer": prefer, "Cache-Control": "no-cache"}
    request = urllib.request.Request(f"{address}/v1/fits", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=90) as answer:
        fit: dict[str, Any] = json.load(answer)
    if fit["status"] == "queued":
        with urllib.request.urlopen(f"{address}{fit['links']['self']}?wait=60", timeout=90) as answer:
            fit = json.load(answer)
    assert fit["status"] == "succeeded", fit["error"]
    return fit


@pytest.mark.parametrize("prefer", ["wait=60", "respond-async"], ids=["at once", "queued"])
@pytest.mark.parametrize("name", NIST)
def test_nist_sets_keep_13_digits(address: str, name: str, prefer: str) -> None:
    certified = NIST[name]
    columns = {f"x{j + 1}": [float(row[j]) for row in certified["x"]] for j in range(len(certified["x"][0]))}
    body = {
        "data": {"columns": columns | {"y": [float(value) for value in certified["y"]]}},
        "model": certified["model"],
        "solver": {"kind": "exact"},
    }
    result = _fit(address, body, prefer)["result"]
    assert result["reference"]["certified_digits"] > 15.0
    [summary] = result["summary"]
    for found, truth in (
        ([c["estimate"] for c in result["coefficients"]], certified["beta"]),
        ([c["std_error"] for c in result["coefficients"]], certified["sd"]),
        ([summary["residual_sd"]], [certified["residual_sd"]]),
        ([summary["r_squared"]], [certified["r_squared"]]),
    ):
        digits = matching_digits(np.array(found, dtype=np.float64), np.array(truth, dtype=np.float64))
        assert digits.min() >= 13.0, (found, truth)
    # Infinite where the polynomial goes through every point.
    assert (summary["f"] is None) == math.isinf(float(certified["f"]))


STREAM = np.random.default_rng(11)
X = STREAM.normal(size=20).tolist()
Y = STREAM.normal(size=20).tolist()
ZEROS = [0.0] * 20

ODD_DATA: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "columns from 1e-300 to 1e300": (
        {"a": [v * 1e-300 for v in X], "b": [v * 1e300 for v in Y], "y": X[::-1]}, {}, ""),
    "y constant": ({"x": X, "y": [3.0] * 20}, {}, "one value only"),
    "y zero": ({"x": X, "y": ZEROS}, {}, "one value only"),
    "as many rows as coefficients": ({"x": X[:2], "y": Y[:2]}, {}, "degree of freedom"),
    "fewer rows than coefficients": ({"a": X[:2], "b": Y[:2], "c": X[2:4], "y": Y[2:4]}, {}, "degree of freedom"),
    "one row": ({"x": [1.0], "y": [2.0]}, {}, "degree of freedom"),
    "rows twice": ({"x": X * 2, "y": Y * 2}, {}, ""),
    "a line through all points": ({"x": X, "y": [2.0 * v for v in X]}, {}, "residuals"),
    "a column twice": ({"a": X, "b": X, "y": Y}, {}, ""),
    "a constant column": ({"a": X, "b": [5.0] * 20, "y": Y}, {}, ""),
    "nothing but zeros": ({"a": ZEROS, "y": ZEROS}, {"intercept": False}, ""),
    "weights of every size": (
        {"x": X, "w": [10.0**k for k in range(-300, 300, 30)], "y": Y}, {"weights": "w"}, ""),
    "one row with a weight": ({"x": X, "w": [1.0, *ZEROS[1:]], "y": Y}, {"weights": "w"}, "degree of freedom"),
    "a power that collides with another": ({"x": [1.0, 2.0] * 10, "y": Y}, {"degree": 3}, ""),
}  # fmt: skip


@pytest.mark.parametrize("prefer", ["wait=60", "respond-async"], ids=["at once", "queued"])
@pytest.mark.parametrize("name", ODD_DATA)
def test_odd_data_get_an_answer_and_the_reason(address: str, name: str, prefer: str) -> None:
    columns, model, said = ODD_DATA[name]
    inference = {"standard_errors": "hc3", "covariance": True, "collinearity": True}
    for asked in ({}, {"inference": inference}):
        body = {"data": {"columns": columns}, "model": model, "solver": {"kind": "exact"}} | asked
        fit = _fit(address, body, prefer)
        result = fit["result"]
        for coefficient in result["coefficients"]:
            missing = coefficient["std_error"] is None
            explained = not coefficient["identified"] or result["inference"]["reason"] or result["summary"][0]["reason"]
            assert not missing or explained, coefficient
        assert (result["reference"]["rank"] < result["reference"]["parameters"]) == bool(
            result["reference"]["null_directions"]
        )
        words = f"{result['summary'][0]['reason']} {result['inference']['reason']}"
        assert said in words, words
        with urllib.request.urlopen(f"{address}{fit['links']['observations']}", timeout=60) as answer:
            assert json.load(answer)["rows"] == len(columns["y"])


@pytest.mark.parametrize(("weights", "said"), [(ZEROS, "are all 0"), ([1.0, 1.0, -1.0, *[1.0] * 17], "Row 2")])
def test_weights_that_weigh_nothing_or_less_are_refused(address: str, weights: list[float], said: str) -> None:
    body = {"data": {"columns": {"x": X, "y": Y, "w": weights}}, "model": {"weights": "w"}, "solver": {"kind": "exact"}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/fits", json.dumps(body).encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    problem = json.load(refused.value)
    assert refused.value.code == 422
    assert [fault["pointer"] for fault in problem["errors"]] == ["/model/weights"]
    assert said.lower() in problem["detail"].lower(), problem["detail"]


def test_what_the_others_print_comes_with_the_reason(address: str) -> None:
    columns = {
        "a": X,
        "b": Y,
        "c": [2 * u - v for u, v in zip(X, Y, strict=True)],
        "y": [u * v for u, v in zip(X, Y, strict=True)],
    }
    names = ["scikit_learn", "numpy", "statsmodels", "r"]
    result = _fit(address, {"data": {"columns": columns}, "solver": {"kind": "exact"}, "others": names})["result"]
    assert [other["name"] for other in result["others"]] == names
    assert all(other["message"] for other in result["others"])
    r = result["others"][-1]
    assert [c["term"] for c in r["coefficients"] if c["estimate"] is None] == ["c"]


def test_a_ridge_by_descent_stands_beside_both_optima(address: str) -> None:
    body = {
        "data": {"columns": {"x": X, "y": Y}},
        "solver": {"kind": "descent", "epochs": 500, "optimizer": {"learning_rate": 0.1},
                   "penalty": {"kind": "l2", "strength": 0.3}},
    }  # fmt: skip
    result = _fit(address, body)["result"]
    assert result["reference"]["objective"] == "ridge"
    slope = result["coefficients"][1]
    assert slope["matching_digits"] > 12.0
    assert abs(slope["reference"]) < abs(slope["unpenalised"])
    assert slope["std_error"] is None
    assert "biased" in result["inference"]["reason"]
