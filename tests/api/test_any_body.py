"""Whatever is sent, the answer is a fit or a problem that says what is wrong; never a fault of ours."""

import copy
import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as some

GOOD: dict[str, Any] = {
    "data": {"columns": {"x": [1, 2, 3], "y": [1, 2, 4]}},
    "model": {"features": ["x"], "targets": ["y"], "intercept": True, "degree": 1, "weights": None},
    "scaling": {"features": "standard", "targets": "minmax"},
    "loss": "mse",
    "solver": {
        "kind": "descent",
        "backend": "numpy",
        "optimizer": {"kind": "rmsprop", "learning_rate": 0.01, "rho": 0.9},
        "epochs": 10,
        "max_steps": 5,
        "batch_size": 2,
        "seed": 0,
        "start": {"kind": "values", "coefficients": [[1.0]], "intercept": [0.0]},
        "stop": {"gap_tolerance": 1e-3},
    },
    "record": {"every": {"steps": 2}, "coefficients": True, "limit": 100},
    "labels": {"a": "b"},
}

_leaves = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=5)
    | some.sampled_from(["x", "y", "sgd", "exact", "kind", 10**400, 2**63, 1e308, "\0", "(intercept)"])
)
_values = some.recursive(
    _leaves,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from(["kind", "x", "y", "columns", "steps", "case"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for part, item in inner for found in _places(item, (*place, part)))]


def _replaced(place: tuple[Any, ...], value: Any) -> Any:
    body = copy.deepcopy(GOOD)
    if not place:
        return value
    inside: Any = body
    for part in place[:-1]:
        inside = inside[part]
    inside[place[-1]] = value
    return body


@settings(max_examples=400, deadline=None, derandomize=True)
@given(place=some.sampled_from(_places(GOOD)), value=_values)
def test_a_fit_or_a_problem(api: httpx.Client, place: tuple[Any, ...], value: Any) -> None:
    text = json.dumps(_replaced(place, value))
    answer = api.post("/v1/fits", content=text, headers={"content-type": "application/json"})
    assert answer.status_code in (202, 400, 422), answer.text
    if answer.status_code == 422:
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
