"""Whatever is sent, the answer is what was asked for or a problem that says what is wrong; never a fault of ours."""

import copy
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

DESCENT: dict[str, Any] = {
    "data": {"columns": {"x": [1, 2, 3], "y": [1, 2, 4], "w": [1, 0, 2], "g": [1, 1, 2]}},
    "model": {"features": ["x"], "targets": ["y"], "intercept": True, "degree": 2, "weights": "w"},
    "scaling": {"features": "standard", "targets": "minmax"},
    "loss": "mse",
    "solver": {
        "kind": "descent",
        "backend": "numpy",
        "optimizer": {
            "kind": "rmsprop",
            "learning_rate": {"kind": "piecewise_constant_decay", "boundaries": [3, 7], "values": [0.1, 0.05, 0.01]},
            "rho": 0.9,
            "clipnorm": 1.0,
            "use_ema": True,
            "ema_overwrite_frequency": 2,
        },
        "epochs": 10,
        "max_steps": 5,
        "batch_size": 2,
        "seed": 0,
        "start": {"kind": "values", "coefficients": [[1.0], [0.5]], "intercept": [0.0]},
        "stop": {"gap_tolerance": 1e-3},
        "penalty": {"kind": "l2", "strength": 0.5},
    },
    "inference": {"standard_errors": "clustered", "clusters": "g", "confidence_level": 0.9, "covariance": True},
    "others": ["numpy", "r"],
    "record": {"every": {"steps": 2}, "coefficients": True, "limit": 100},
    "labels": {"a": "b"},
}
EXACT: dict[str, Any] = {
    "data": {
        "columns": {"x": [1, 2, 3, 5], "z": [0, 1, 0, 1], "y": [1, 2, 4, 4], "w": [1, 0, 2, 1], "g": [1, 1, 2, 3]}
    },
    "model": {"features": ["x", "z"], "degree": 2, "weights": "w"},
    "scaling": {"features": "standard"},
    "solver": {"kind": "exact", "penalty": None},
    "inference": {"standard_errors": "hc3", "clusters": None, "covariance": True, "collinearity": True},
}
PLAIN: dict[str, Any] = DESCENT | {
    "solver": DESCENT["solver"]
    | {"optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": None}},
    "explain": ["broadcast"],
}
PREDICTION: dict[str, Any] = {"data": {"columns": {"a": [1, 2], "b": [0.5, 3]}}, "confidence_level": 0.9}
ROWS: dict[str, Any] = {"data": {"x": [[1, 2], [0.5, 3]]}, "confidence_level": None}
JSON = {"content-type": "application/json"}

_leaves = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=5)
    | some.sampled_from(
        [
            "x",
            "y",
            "w",
            "g",
            "sgd",
            "adam",
            "l2",
            "r",
            "hc3",
            "exact",
            "kind",
            10**400,
            2**63,
            1e308,
            "\0",
            "(intercept)",
        ]
    )
)
_values = some.recursive(
    _leaves,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.sampled_from(["kind", "x", "y", "a", "b", "columns", "steps", "case", "strength"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for part, item in inner for found in _places(item, (*place, part)))]


def _replaced(good: dict[str, Any], place: tuple[Any, ...], value: Any) -> Any:
    body = copy.deepcopy(good)
    if not place:
        return value
    inside: Any = body
    for part in place[:-1]:
        inside = inside[part]
    inside[place[-1]] = value
    return body


def _altered(*bodies: dict[str, Any]) -> some.SearchStrategy[str]:
    """One of the bodies with one of its parts replaced."""
    places = some.sampled_from([(body, place) for body in bodies for place in _places(body)])
    return some.builds(lambda where, value: json.dumps(_replaced(where[0], where[1], value)), places, _values)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=_altered(DESCENT))
def test_a_fit_or_a_problem(api: httpx.Client, text: str) -> None:
    _sent(api, "/v1/fits", text)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=_altered(EXACT))
def test_an_answer_with_its_rows_or_a_problem(api: httpx.Client, text: str) -> None:
    answer = _sent(api, "/v1/fits", text)
    if answer.status_code == 201:
        links = answer.json()["links"]
        assert api.get(links["observations"]).status_code == 200
        predicted = api.post(links["predictions"], json={"data": {"columns": {"x": [2, 1e300], "z": [0, -1e300]}}})
        assert predicted.status_code in (200, 422)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=_altered(PLAIN))
def test_a_forecast_or_a_problem(api: httpx.Client, text: str) -> None:
    assert _sent(api, "/v1/forecasts", text).status_code in (200, 400, 422)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=_altered(PREDICTION, ROWS))
def test_a_prediction_or_a_problem(api: httpx.Client, predictions: str, text: str) -> None:
    _sent(api, predictions, text)


@pytest.fixture(scope="module")
def predictions(api: httpx.Client) -> str:
    """Where to ask a fit of the features a and b."""
    columns = {"a": [1, 2, 3, 4, 5], "b": [0, 1, 0, 1, 1], "y": [1, 2, 2, 4, 3]}
    fit = api.post("/v1/fits", json={"data": {"columns": columns}, "solver": {"kind": "exact"}})
    return str(fit.json()["links"]["predictions"])


def _sent(api: httpx.Client, path: str, text: str) -> httpx.Response:
    answer = api.post(path, content=text, headers=JSON)
    assert answer.status_code in (200, 201, 202, 400, 422), answer.text
    if answer.status_code == 422:
        _check_problem(answer, text)
    return answer


def _check_problem(answer: httpx.Response, text: str) -> None:
    problem = answer.json()
    assert problem["errors"]
    for fault in problem["errors"]:
        assert fault["message"]
        assert fault["allowed"]
        assert "see /openapi.json" not in fault["allowed"]
        assert _exists(json.loads(text), fault["pointer"])


def _exists(body: Any, pointer: str) -> bool:
    """Whether the pointer's parent is in the body: the place itself may be what is missing."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:-1]]
    for part in parts:
        body = body[int(part)] if isinstance(body, list) else body[part]
    return isinstance(body, dict | list) or pointer == ""
