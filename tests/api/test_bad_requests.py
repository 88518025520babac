"""Every bad input gets its problem, at its place, and leaves nothing behind."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

JSON = {"content-type": "application/json"}
GOOD = {"data": {"x": [1, 2, 3], "y": [1, 2, 4]}}
COLUMNS = {"data": {"columns": {"x": [1, 2, 3], "y": [1, 2, 4]}}}


def _with(**parts: Any) -> dict[str, Any]:
    return GOOD | parts


def _descent(**options: Any) -> dict[str, Any]:
    return _with(solver={"kind": "descent", **options})


def _optimizer(**options: Any) -> dict[str, Any]:
    return _descent(optimizer=options)


def _rate(**options: Any) -> dict[str, Any]:
    return _optimizer(learning_rate=options)


def _exponential(**options: Any) -> dict[str, Any]:
    usual = {"kind": "exponential_decay", "initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.9}
    return _rate(**usual | options)


def _cosine(**options: Any) -> dict[str, Any]:
    return _rate(**{"kind": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 5} | options)


def _piecewise(boundaries: Any, values: Any) -> dict[str, Any]:
    return _rate(kind="piecewise_constant_decay", boundaries=boundaries, values=values)


def _start(**options: Any) -> dict[str, Any]:
    return _descent(start=options)


def _penalised(**options: Any) -> dict[str, Any]:
    return _with(solver={"kind": "exact", "penalty": options})


def _inference(**options: Any) -> dict[str, Any]:
    return COLUMNS | {"inference": options}


def _columns(**columns: Any) -> dict[str, Any]:
    return {"data": {"columns": columns}}


# Body, pointer of the first fault, and a piece of what is allowed there.
INVALID: list[tuple[Any, str, str]] = [
    # What the issue lists.
    ({"data": {}}, "/data", '{"columns"'),
    ({}, "/data", "no default"),
    (_columns(), "/data/columns", "at least 1"),
    (_columns(x=[], y=[]), "/data/columns/x", "at least 1"),
    (_columns(x=[1, 2], y=[1]), "/data/columns/y", "equal length"),
    ({"data": {"x": [[1, 2], [3]], "y": [1, 2]}}, "/data/x/1", "2 numbers"),
    ({"data": {"x": [1, 2], "y": [1]}}, "/data/y", "2 rows"),
    ({"data": {"x": [], "y": []}}, "/data/x", "at least 1"),
    (_columns(x=["1", 2], y=[1, 2]), "/data/columns/x/0", "finite number"),
    (_columns(x=[1, True], y=[1, 2]), "/data/columns/x/1", "finite number"),
    (_columns(x=[1, None], y=[1, 2]), "/data/columns/x/1", "finite number"),
    (_columns(x=[1, [2]], y=[1, 2]), "/data/columns/x/1", "finite number"),
    (_columns(x=[1, float("nan")], y=[1, 2]), "/data/columns/x/1", "finite number"),
    (_columns(x=[1, float("inf")], y=[1, 2]), "/data/columns/x/1", "finite number"),
    (_columns(x=[1, 10**400], y=[1, 2]), "/data/columns/x/1", "finite number"),
    (COLUMNS | {"model": {"features": ["x", "z"]}}, "/model/features/1", "'x', 'y'"),
    (COLUMNS | {"model": {"features": ["x", "y"]}}, "/model/features/1", "no target"),
    (COLUMNS | {"model": {"targets": ["z"]}}, "/model/targets/0", "'x', 'y'"),
    (_descent(batch_size=0), "/solver/batch_size", "at least 1"),
    (_descent(batch_size=1.5), "/solver/batch_size", "an integer"),
    (_descent(batch_size=True), "/solver/batch_size", "an integer"),
    (_descent(batch_size="3"), "/solver/batch_size", "an integer"),
    (_descent(epochs=-1), "/solver/epochs", "at least 1"),
    (_descent(epochs=0), "/solver/epochs", "at least 1"),
    (_descent(epochs=None), "/solver/epochs", "an integer"),
    (_optimizer(kind="sgd", learning_rate=0), "/solver/optimizer/learning_rate", "more than 0"),
    (_optimizer(kind="bfgs"), "/solver/optimizer/kind", "'sgd', 'rmsprop'"),
    (_optimizer(kind=["sgd"]), "/solver/optimizer/kind", "'sgd', 'rmsprop'"),
    (_optimizer(kind={}), "/solver/optimizer/kind", "'sgd', 'rmsprop'"),
    (_with(solvr={}), "/solvr", "data, model, scaling, loss, solver, inference, others, explain, record, labels"),
    # The same, one level down: the list of fields is that of the very object.
    (_optimizer(kind="sgd", rho=0.9), "/solver/optimizer/rho", "kind, learning_rate, momentum, nesterov"),
    (_optimizer(rho=0.9), "/solver/optimizer/rho", "kind, learning_rate, momentum, nesterov"),
    (_with(solver={"kind": "exact", "epochs": 3}), "/solver/epochs", "kind"),
    (_descent(stop={"patience": 3}), "/solver/stop/patience", "gradient_tolerance"),
    (_with(record={"every": {"steps": 1, "epochs": 1}}), "/record/every/epochs", "steps"),
    ({"data": {"x": [1], "y": [1], "columns": {"a": [1], "y": [1]}}}, "/data/x", "columns"),
    ({"data": {"x": [1]}}, "/data/y", "no default"),
    (_with(model={"feature": ["x1"]}), "/model/feature", "features, targets"),
    # Not an object.
    ([], "", "an object"),
    (None, "", "an object"),
    ("x", "", "an object"),
    (_with(solver=3), "/solver", "an object"),
    (_with(solver=None), "/solver", "an object"),
    (_with(model=[]), "/model", "an object"),
    ({"data": [1, 2]}, "/data", '{"columns"'),
    ({"data": {"columns": [1, 2]}}, "/data/columns", "an object"),
    ({"data": {"columns": {"x": 1, "y": [1]}}}, "/data/columns/x", "a list"),
    ({"data": {"x": [1, [2]], "y": [1, 2]}}, "/data/x/1", "finite number"),
    ({"data": {"x": [[1], 2], "y": [1, 2]}}, "/data/x/1", "a list"),
    ({"data": {"x": [[], []], "y": [1, 2]}}, "/data/x/0", "at least 1"),
    ({"data": {"x": [[1], ["a"]], "y": [1, 2]}}, "/data/x/1/0", "finite number"),
    # Named data.
    ({"data": {"case": "nothing"}}, "/data/case", "tiny-scale"),
    ({"data": {"case": 3}}, "/data/case", "a string"),
    ({"data": {"dataset": "0" * 64}}, "/data/dataset", "a dataset"),
    ({"data": {"dataset": "x"}}, "/data/dataset", "matches"),
    # Column names.
    (_columns(**{"a/b~c": [1, "x"], "y": [1, 2]}), "/data/columns/a~1b~0c/1", "finite number"),
    (_columns(**{"": [1], "y": [1]}), "/data/columns/", "at least 1"),
    (_columns(**{"n" * 300: [1], "y": [1]}), "/data/columns", "at most 200"),
    (_columns(**{"a\u0000b": [1], "y": [1]}), "/data/columns", "printable"),
    (_columns(**{"(intercept)": [1, 2], "y": [1, 2]}), "/model/features", "another name"),
    (_columns(a=[1, 2]), "/model/targets", "'a'"),
    (COLUMNS | {"model": {"features": ["x", "x"]}}, "/model/features/1", "once"),
    (COLUMNS | {"model": {"targets": []}}, "/model/targets", "'x', 'y'"),
    (COLUMNS | {"model": {"features": [], "intercept": False}}, "/model/features", "a feature"),
    (COLUMNS | {"model": {"features": "x"}}, "/model/features", "a list"),
    (COLUMNS | {"model": {"features": [1]}}, "/model/features/0", "a string"),
    (COLUMNS | {"model": {"features": ["n" * 1000]}}, "/model/features/0", "at most 200"),
    # Degree and weights.
    (_with(model={"degree": 0}), "/model/degree", "at least 1"),
    (_with(model={"degree": 21}), "/model/degree", "at most 20"),
    (_with(model={"degree": 1.5}), "/model/degree", "an integer"),
    (_with(model={"degree": True}), "/model/degree", "an integer"),
    (_with(model={"degree": None}), "/model/degree", "an integer"),
    (_with(model={"degree": float("nan")}), "/model/degree", "an integer"),
    (_columns(**{"x": [1, 2], "x^2": [1, 3], "y": [1, 2]}) | {"model": {"degree": 2}}, "/model/degree", "lower degree"),
    (_with(model={"weights": "w"}), "/model/weights", "'x1', 'y'"),
    (_with(model={"weights": "y"}), "/model/weights", "no target"),
    (_with(model={"weights": 1}), "/model/weights", "a string"),
    (_with(model={"weights": ["w"]}), "/model/weights", "a string"),
    (_with(model={"weights": ""}), "/model/weights", "at least 1"),
    (_with(model={"weights": "w" * 201}), "/model/weights", "at most 200"),
    (COLUMNS | {"model": {"features": ["x"], "weights": "x"}}, "/model/weights", "neither target nor feature"),
    (_columns(x=[1, 2], y=[1, 2], w=[-1, 1]) | {"model": {"weights": "w"}}, "/model/weights", "0 and above"),
    (_columns(x=[1, 2], y=[1, 2], w=[0, 0]) | {"model": {"weights": "w"}}, "/model/weights", "above 0"),
    # A penalty.
    (_penalised(strength=0), "/solver/penalty/strength", "more than 0"),
    (_penalised(strength=-1), "/solver/penalty/strength", "more than 0"),
    (_penalised(strength=True), "/solver/penalty/strength", "finite number"),
    (_penalised(strength="1"), "/solver/penalty/strength", "finite number"),
    (_penalised(strength=None), "/solver/penalty/strength", "finite number"),
    (_penalised(strength=float("nan")), "/solver/penalty/strength", "finite number"),
    (_penalised(strength=float("inf")), "/solver/penalty/strength", "finite number"),
    (_penalised(strength=10**400), "/solver/penalty/strength", "finite number"),
    (_penalised(), "/solver/penalty/strength", "no default"),
    (_penalised(kind="l1", strength=1), "/solver/penalty/kind", "'l2'"),
    (_penalised(kind=None, strength=1), "/solver/penalty/kind", "'l2'"),
    (_penalised(alpha=1, strength=1), "/solver/penalty/alpha", "kind, strength"),
    (_descent(penalty="l2"), "/solver/penalty", "an object"),
    (_descent(penalty=0.1), "/solver/penalty", "an object"),
    (_descent(penalty={"strength": 0}), "/solver/penalty/strength", "more than 0"),
    # Inference.
    (_inference(standard_errors="hc4"), "/inference/standard_errors", "'hc3' or 'clustered'"),
    (_inference(standard_errors=None), "/inference/standard_errors", "'classical', 'hc0'"),
    (_inference(standard_errors="clustered"), "/inference/clusters", "a column for 'clustered'"),
    (_inference(clusters="x"), "/inference/clusters", "null for the others"),
    (_inference(standard_errors="hc1", clusters="x"), "/inference/clusters", "null for the others"),
    (_inference(standard_errors="clustered", clusters="z"), "/inference/clusters", "'x', 'y'"),
    (_inference(standard_errors="clustered", clusters="y"), "/inference/clusters", "no target"),
    (_inference(standard_errors="clustered", clusters=3), "/inference/clusters", "a string"),
    (_inference(confidence_level=0), "/inference/confidence_level", "more than 0"),
    (_inference(confidence_level=1), "/inference/confidence_level", "less than 1"),
    (_inference(confidence_level=95), "/inference/confidence_level", "less than 1"),
    (_inference(confidence_level="0.9"), "/inference/confidence_level", "finite number"),
    (_inference(confidence_level=True), "/inference/confidence_level", "finite number"),
    (_inference(confidence_level=None), "/inference/confidence_level", "finite number"),
    (_inference(confidence_level=float("nan")), "/inference/confidence_level", "finite number"),
    (_inference(covariance=1), "/inference/covariance", "true or false"),
    (_inference(collinearity="yes"), "/inference/collinearity", "true or false"),
    (_inference(level=0.9), "/inference/level", "standard_errors, clusters, confidence_level"),
    (_with(inference=None), "/inference", "an object"),
    (_with(inference="hc3"), "/inference", "an object"),
    # Others.
    (_with(others=["sas"]), "/others/0", "'scikit_learn', 'numpy'"),
    (_with(others=["r", None]), "/others/1", "'statsmodels' or 'r'"),
    (_with(others=["r", "numpy", "r"]), "/others/2", "each program once"),
    (_with(others=["r"] * 5), "/others", "at most 4"),
    (_with(others="r"), "/others", "a list"),
    (_with(others={"r": True}), "/others", "a list"),
    (_with(others=None), "/others", "a list"),
    # Explanations.
    (_with(explain=["magic"]), "/explain/0", "'broadcast'"),
    (_with(explain=["broadcast", "broadcast"]), "/explain", "at most 1"),
    (_with(explain=[None]), "/explain/0", "'broadcast'"),
    (_with(explain="broadcast"), "/explain", "a list"),
    (_with(explain={"broadcast": True}), "/explain", "a list"),
    (_with(explain=None), "/explain", "a list"),
    (_columns(x=[1, 2], y1=[1, 2], y2=[3, 4]) | {"explain": ["broadcast"]}, "/explain/0", "a single target"),
    (_with(loss="huber"), "/loss", "'mse' or 'sum_squares'"),
    (_with(scaling={"features": "unit"}), "/scaling/features", "'none', 'standard', 'minmax', 'maxabs' or 'robust'"),
    (_with(scaling={"targets": None}), "/scaling/targets", "'maxabs' or 'robust'"),
    # Bounds.
    (_optimizer(learning_rate="0.1"), "/solver/optimizer/learning_rate", "finite number"),
    (_optimizer(learning_rate=True), "/solver/optimizer/learning_rate", "finite number"),
    (_optimizer(learning_rate=float("inf")), "/solver/optimizer/learning_rate", "finite number"),
    (_optimizer(momentum=1.5), "/solver/optimizer/momentum", "at most 1"),
    (_optimizer(momentum=-0.1), "/solver/optimizer/momentum", "at least 0"),
    (_optimizer(nesterov=1), "/solver/optimizer/nesterov", "true or false"),
    (_optimizer(kind="rmsprop", rho=1.0), "/solver/optimizer/rho", "less than 1"),
    (_optimizer(kind="rmsprop", epsilon=0), "/solver/optimizer/epsilon", "more than 0"),
    # Optimizers, as Keras refuses them and a little more.
    (_optimizer(learning_rate=None), "/solver/optimizer/learning_rate", '{"kind": "exponential_decay"'),
    (_optimizer(learning_rate=[0.1]), "/solver/optimizer/learning_rate", "or another schedule"),
    (_optimizer(learning_rate=float("nan")), "/solver/optimizer/learning_rate", "finite number"),
    (_optimizer(kind="adam", rho=0.9), "/solver/optimizer/rho", "kind, learning_rate, beta_1, beta_2, epsilon"),
    (_optimizer(kind="adam", beta_1=1), "/solver/optimizer/beta_1", "less than 1"),
    (_optimizer(kind="adam", amsgrad=1), "/solver/optimizer/amsgrad", "true or false"),
    (_optimizer(kind="adamw", weight_decay=None), "/solver/optimizer/weight_decay", "finite number"),
    (_optimizer(weight_decay=-0.1), "/solver/optimizer/weight_decay", "at least 0"),
    (_optimizer(kind="lion", beta_1=0), "/solver/optimizer/beta_1", "more than 0"),
    (_optimizer(kind="ftrl", learning_rate_power=0.5), "/solver/optimizer/learning_rate_power", "at most 0"),
    (_optimizer(kind="ftrl", beta=float("inf")), "/solver/optimizer/beta", "finite number"),
    (
        _optimizer(kind="adagrad", initial_accumulator_value=-1),
        "/solver/optimizer/initial_accumulator_value",
        "at least",
    ),
    (_optimizer(clipnorm=0), "/solver/optimizer/clipnorm", "more than 0"),
    (_optimizer(clipnorm=1, clipvalue=2), "/solver/optimizer/clipvalue", "at most one of clipnorm, clipvalue"),
    (
        _optimizer(kind="nadam", clipvalue=1, global_clipnorm=2),
        "/solver/optimizer/global_clipnorm",
        "null for the others",
    ),
    (_optimizer(use_ema="yes"), "/solver/optimizer/use_ema", "true or false"),
    (_optimizer(ema_momentum=1.1), "/solver/optimizer/ema_momentum", "at most 1"),
    (_optimizer(ema_overwrite_frequency=0), "/solver/optimizer/ema_overwrite_frequency", "at least 1"),
    (_optimizer(ema_overwrite_frequency=1.5), "/solver/optimizer/ema_overwrite_frequency", "an integer"),
    # Schedules.
    (_rate(), "/solver/optimizer/learning_rate/kind", "'exponential_decay', 'cosine_decay'"),
    (_rate(kind="linear"), "/solver/optimizer/learning_rate/kind", "'piecewise_constant_decay'"),
    (_rate(kind="cosine_decay", decay_steps=3), "/solver/optimizer/learning_rate/initial_learning_rate", "no default"),
    (_exponential(decay_steps=0), "/solver/optimizer/learning_rate/decay_steps", "at least 1"),
    (_exponential(decay_rate=0), "/solver/optimizer/learning_rate/decay_rate", "more than 0"),
    (_exponential(initial_learning_rate="1"), "/solver/optimizer/learning_rate/initial_learning_rate", "finite number"),
    (_exponential(alpha=1), "/solver/optimizer/learning_rate/alpha", "kind, initial_learning_rate, decay_steps"),
    (_cosine(alpha=-1), "/solver/optimizer/learning_rate/alpha", "at least 0"),
    (_cosine(warmup_steps=5), "/solver/optimizer/learning_rate/warmup_target", "warmup_steps of 0"),
    (_cosine(warmup_target=0.5), "/solver/optimizer/learning_rate/warmup_steps", "at least 1"),
    (_piecewise([], [1]), "/solver/optimizer/learning_rate/boundaries", "at least 1"),
    (_piecewise([5], [0.1]), "/solver/optimizer/learning_rate/values", "at least 2"),
    (_piecewise([5], [0.1, 0.2, 0.3]), "/solver/optimizer/learning_rate/values", "2 numbers"),
    (_piecewise([5, 5], [0.1, 0.2, 0.3]), "/solver/optimizer/learning_rate/boundaries/1", "more than 5"),
    (_piecewise([5, 1.5], [0.1, 0.2, 0.3]), "/solver/optimizer/learning_rate/boundaries/1", "an integer"),
    (_piecewise([5], [0.1, 0]), "/solver/optimizer/learning_rate/values/1", "more than 0"),
    (_piecewise([*range(1001)], [0.1] * 1002), "/solver/optimizer/learning_rate/boundaries", "at most 1000"),
    (_descent(max_steps=0), "/solver/max_steps", "at least 1"),
    (_descent(seed=-1), "/solver/seed", "at least 0"),
    (_descent(seed=2**63), "/solver/seed", "at most 9223372036854775807"),
    (_descent(epochs=10**300), "/solver/epochs", "at most"),
    (_descent(epochs=2**63 - 1), "/solver/epochs", "steps in all"),
    (_descent(dtype="float16"), "/solver/dtype", "'float32' or 'float64'"),
    (_descent(backend="jax"), "/solver/backend", "'numpy' or 'tensorflow'"),
    (_descent(stop={"max_seconds": 0}), "/solver/stop/max_seconds", "more than 0"),
    (_descent(shuffle="yes"), "/solver/shuffle", "true or false"),
    (_with(record={"limit": 1}), "/record/limit", "at least 2"),
    (_with(record={"limit": 2**25 + 1}), "/record/limit", "at most 33554432"),
    (_with(record={"every": "batch"}), "/record/every", "'step' or 'epoch'"),
    (_with(record={"every": 5}), "/record/every", "'step' or 'epoch'"),
    (_with(record={"every": {"steps": 0}}), "/record/every/steps", "at least 1"),
    (_with(record={"every": {}}), "/record/every/steps", "no default"),
    (_with(labels={"a": 1}), "/labels/a", "a string"),
    (_with(labels={"a": "\u0000"}), "/labels/a", "matches"),
    (_with(labels={"a": "b" * 300}), "/labels/a", "matches"),
    (_with(labels={"a b": "c"}), "/labels/a b", "matches"),
    (_with(labels={str(i): "x" for i in range(33)}), "/labels", "at most 32"),
    # Parts that do not go together.
    (_start(kind="values", coefficients=[1, 2]), "/solver/start/coefficients", "1 rows"),
    (_start(kind="values", coefficients=[[1, 2]], intercept=1), "/solver/start/coefficients", "1 rows"),
    (_start(kind="values", coefficients=[1]), "/solver/start/intercept", "1 numbers"),
    (_start(kind="values", coefficients=[1], intercept=[1, 2]), "/solver/start/intercept", "1 numbers"),
    (_start(kind="values", intercept=1), "/solver/start/coefficients", "no default"),
    (_start(kind="values", coefficients=["a"], intercept=1), "/solver/start/coefficients/0", "finite number"),
    (_start(kind="values", coefficients=[1], intercept="a"), "/solver/start/intercept", "finite number"),
    (_start(kind="normal", stddev=0), "/solver/start/stddev", "more than 0"),
    (_start(kind="last"), "/solver/start/kind", "'zeros', 'values'"),
    (_start(kind="fit"), "/solver/start/fit", "no default"),
    (_start(kind="fit", fit="x"), "/solver/start/fit", "a UUID"),
    (_start(kind="fit", fit=3), "/solver/start/fit", "a UUID"),
    (_start(kind="fit", fit="00000000-0000-4000-8000-000000000000"), "/solver/start/fit", "a fit that has succeeded"),
    (
        _with(model={"intercept": False}, scaling={"features": "standard"}),
        "/scaling/features",
        '"intercept": true',
    ),
    (_with(model={"intercept": False}, scaling={"targets": "robust"}), "/scaling/targets", "'none' or 'maxabs'"),
]


@pytest.fixture(autouse=True)
def _nothing_left(stored_rows: Callable[[], int]) -> Iterator[None]:
    before = stored_rows()
    yield
    assert stored_rows() == before == 0


def _problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail", "instance", "code", "errors"}
    assert problem["type"] == f"https://plumbline.invalid/problems/{code}"
    assert (problem["status"], problem["code"], problem["instance"]) == (status, code, answer.url.path)
    assert len(answer.content) < 10_000
    return problem


@pytest.mark.parametrize("path", ["/v1/fits", "/v1/forecasts"])
@pytest.mark.parametrize(("body", "pointer", "allowed"), INVALID, ids=[str(body)[:70] for body, *_ in INVALID])
def test_an_invalid_body_is_refused_at_its_place(
    api: httpx.Client, path: str, body: Any, pointer: str, allowed: str
) -> None:
    answer = api.post(path, content=json.dumps(body), headers=JSON)
    code = answer.json().get("code")
    assert code in ("invalid-request", "invalid-problem")
    fault = _problem(answer, 422, code)["errors"][0]
    assert fault["pointer"] == pointer
    assert allowed in fault["allowed"]
    assert fault["message"].endswith(".")
    assert "see /openapi.json" not in fault["allowed"]


EXACT = _with(solver={"kind": "exact"})


@pytest.mark.parametrize(
    ("path", "body", "pointer", "allowed"),
    [
        ("/v1/forecasts", EXACT, "/solver/kind", "'descent'"),
        ("/v1/fits", EXACT | {"explain": ["broadcast"]}, "/explain/0", "'descent'"),
    ],
)
def test_what_takes_steps_is_not_asked_of_the_exact_solver(
    api: httpx.Client, path: str, body: Any, pointer: str, allowed: str
) -> None:
    answer = api.post(path, json=body)
    [fault] = _problem(answer, 422, answer.json()["code"])["errors"]
    assert (fault["pointer"], fault["message"][:28]) == (pointer, "An exact fit takes no steps:")
    assert allowed in fault["allowed"]


UNREADABLE = {
    "empty": b"",
    "half an object": b'{"data": {"x": [1, 2',
    "a trailing comma": b'{"data": {},}',
    "two values": b"{} {}",
    "python": b"{'data': None}",
    "not UTF-8": b'{"data": "\xff"}',
    "UTF-16": '{"data": {}}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a lone surrogate": b'{"data": "\\ud800"}',
    "an encoded surrogate": b'{"data": "\xed\xa0\x80"}',
    "a control character": b'{"data": "\x00"}',
    "deep nesting": b"[" * 100_000,
    "deep nesting, closed": b"[" * 5_000 + b"]" * 5_000,
    "deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "an endless integer": b'{"data": {"x": [' + b"1" * 5_000 + b'], "y": [1]}}',
    "csv": b"x,y\n1,2\n",
}


@pytest.mark.parametrize("path", ["/v1/fits", "/v1/forecasts"])
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_not_json_is_unreadable(api: httpx.Client, path: str, body: bytes) -> None:
    problem = _problem(api.post(path, content=body, headers=JSON), 400, "unreadable-body")
    assert body == b"" or ("line" in problem["detail"] and "column" in problem["detail"])


HOSTILE = {
    "1e400": (b'{"data": {"x": [1, 1e400], "y": [1, 2]}}', "/data/x/1"),
    "-Infinity": (b'{"data": {"x": [1, -Infinity], "y": [1, 2]}}', "/data/x/1"),
    "NaN": (b'{"data": {"x": [1, NaN], "y": [1, 2]}}', "/data/x/1"),
    "a column twice": (b'{"data": {"columns": {"x": [1], "x": [2], "y": [1]}}}', "/data/columns/x"),
    "a column twice, escaped": (b'{"data": {"columns": {"x": [1], "\\u0078": [2], "y": [1]}}}', "/data/columns/x"),
    "a field twice": (b'{"data": {"case": "collinear"}, "data": {"case": "broadcast"}}', "/data"),
    "twice beside colons": (b'{"data": {"columns": {"a:b": [1], "a:b": [2], "y": [1]}}}', "/data/columns/a:b"),
    "twice in a list": (b'{"data": {"x": [{"a": 1, "a": 2}], "y": [1]}}', "/data/x/0/a"),
}


@pytest.mark.parametrize(("body", "pointer"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_refused_at_its_place(api: httpx.Client, body: bytes, pointer: str) -> None:
    problem = _problem(api.post("/v1/fits", content=body, headers=JSON), 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == pointer


def test_many_faults_are_cut_short(api: httpx.Client) -> None:
    body = {"data": {"columns": {f"c{i}": ["bad"] for i in range(3000)}}}
    problem = _problem(api.post("/v1/fits", json=body), 422, "invalid-request")
    assert len(problem["errors"]) == 20
    assert "3000 faults" in problem["detail"]


def test_a_flood_of_fields_is_refused(api: httpx.Client) -> None:
    body = {"data": {"columns": {f"c{i}": 0 for i in range(300_000)}}}
    problem = _problem(api.post("/v1/fits", json=body), 422, "invalid-request")
    assert problem["errors"][0]["allowed"] == "at most 200000"


def test_what_was_sent_is_not_repeated_at_length(api: httpx.Client) -> None:
    long = "n" * 100_000
    for body in (_with(**{long: 1}), _optimizer(kind=long), _with(loss=long), {"data": {"case": long}}):
        problem = _problem(api.post("/v1/fits", json=body), 422, "invalid-request")
        assert long[:1000] not in json.dumps(problem)


@pytest.mark.parametrize(
    ("headers", "piece"),
    [
        ({}, "application/json"),
        ({"content-type": "text/csv"}, "application/json"),
        ({"content-type": "application/x-www-form-urlencoded"}, "application/json"),
        ({"content-type": "text/json"}, "application/json"),
        ({"content-type": "application/json; charset=latin-1"}, "UTF-8"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "gzip"),
    ],
)
def test_another_content_type_is_refused(api: httpx.Client, headers: dict[str, str], piece: str) -> None:
    problem = _problem(api.post("/v1/fits", content=b"{}", headers=headers), 415, "unsupported-media-type")
    assert piece in problem["detail"]


def test_a_body_over_the_limit_is_refused(api: httpx.Client) -> None:
    answer = api.post("/v1/fits", content=b"[" + b" " * (9 << 20), headers=JSON)
    assert "8388608" in _problem(answer, 413, "body-too-large")["detail"]


def test_a_body_over_the_limit_is_refused_without_a_length(api: httpx.Client) -> None:
    answer = api.post("/v1/fits", content=(b" " * (1 << 20) for _ in range(20)), headers=JSON)
    _problem(answer, 413, "body-too-large")


def test_a_body_that_waits_to_be_asked_for_is_not(api: httpx.Client) -> None:
    headers = JSON | {"expect": "100-continue", "content-length": str(9 << 20)}
    _problem(api.post("/v1/fits", content=(b"" for _ in range(0)), headers=headers), 413, "body-too-large")


BAD_QUERIES = [
    ("/v1/fits?statu=queued", "statu"),
    ("/v1/fits?status=done", "status"),
    ("/v1/fits?page_size=0", "page_size"),
    ("/v1/fits?page_size=201", "page_size"),
    ("/v1/fits?page_size=x", "page_size"),
    ("/v1/fits?page_size=5&page_size=6", "page_size"),
    ("/v1/fits?page_token=x", "page_token"),
    ("/v1/fits?page_token=WyIyMDI2IiwgMV0", "page_token"),
    ("/v1/fits?page_token=%00", "page_token"),
    ("/v1/fits?page_token=%C3%A9", "page_token"),
    ("/v1/fits?label.=x", "label."),
    ("/v1/fits?label.a=%00", "label.a"),
    ("/v1/fits?label.a%20b=c", "label.a b"),
    ("/v1/fits?" + "&".join(f"label.a{i}=b" for i in range(33)), "label."),
    ("/v1/fits?label.a=b&label.a=c", "label.a"),
    ("/v1/fits?parent=x", "parent"),
    ("/v1/fits?parent=", "parent"),
    ("/v1/cases?x=1", "x"),
    ("/v1/causes?code=agrees", "code"),
    ("/v1/solvers?kind=adam", "kind"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/script?target=torch", "target"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/script?language=r", "language"),
    ("/health/live?x=1", "x"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000?wait=-1", "wait"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000?wait=nan", "wait"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000?wait=inf", "wait"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/trajectory?fields=step,los", "fields"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/trajectory?fields=", "fields"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/trajectory?from=5&to=4", "to"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/trajectory?from=-1", "from"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/trajectory?limit=1", "limit"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/trajectory?limit=99999999999999999999", "limit"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/trajectory?units=metric", "units"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/observations?fields=row,loss", "fields"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/observations?fields=row,", "fields"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/observations?from=5&to=4", "to"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/observations?from=x", "from"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/observations?limit=1", "limit"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/observations?units=scaled", "units"),
    ("/v1/fits/00000000-0000-4000-8000-000000000000/observations?target=y&target=z", "target"),
]


@pytest.mark.parametrize(("path", "parameter"), BAD_QUERIES, ids=[path[-60:] for path, _ in BAD_QUERIES])
def test_a_bad_query_names_its_parameter(api: httpx.Client, path: str, parameter: str) -> None:
    [fault] = _problem(api.get(path), 422, "invalid-request")["errors"]
    assert (fault["parameter"], fault["pointer"]) == (parameter, None)
    assert fault["allowed"]
    assert "see /openapi.json" not in fault["allowed"]


@pytest.mark.parametrize(
    "path", ["/v1/fits", "/v1/forecasts", "/v1/fits/00000000-0000-4000-8000-000000000000/remedies/0"]
)
def test_a_post_takes_no_query(api: httpx.Client, path: str) -> None:
    answer = api.post(f"{path}?wait=5", json=GOOD)
    assert _problem(answer, 422, "invalid-request")["errors"][0]["parameter"] == "wait"
