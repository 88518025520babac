"""The five built-in cases: questions asked in public, with requests ready to send and the numbers that must come out.

Questions, recipes and numbers stand in ``cases.json``; datasets are made from the recipes, to the bit.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset

Source = Literal["published", "computed"]


@dataclass(frozen=True)
class Expectation:
    """One number that a request's answer must hold.

    Attributes
    ----------
    text
        What the number is.
    pointer
        JSON pointer to it in the fit; where `step` is not None, to a column of its trajectory.
    step
        The recorded step whose row holds it.
    value, tolerance, kind
        What is expected, and how far off it may be, absolutely or relative to the value.
    source
        Whether the number stood in the question or its answers, or was computed from the recipe independently.
    """

    text: str
    pointer: str
    value: float
    tolerance: float
    kind: Literal["absolute", "relative"] = "relative"
    step: int | None = None
    source: Source = "published"

    def error(self, number: float) -> float:
        """How far `number` is off, in the terms of `tolerance`."""
        difference = abs(number - self.value)
        return difference / abs(self.value) if self.kind == "relative" else difference


@dataclass(frozen=True)
class CaseRequest:
    """A body for ``POST /v1/fits`` and what must come out of it, with either backend."""

    title: str
    body: dict[str, Any]
    expected: tuple[Expectation, ...]


@dataclass(frozen=True)
class Case:
    """A question, its data, and requests that answer it."""

    name: str
    question: str
    recipe: str | None
    published: dict[str, Any]
    computed: dict[str, Any]
    requests: tuple[CaseRequest, ...]

    def dataset(self) -> Dataset:
        """The case's data; made once a process."""
        return _dataset(self.name)


def case_names() -> tuple[str, ...]:
    """The names of the built-in cases."""
    return tuple(_texts())


def case(name: str) -> Case | None:
    """The case of that name, or None."""
    text = _texts().get(name)
    if text is None:
        return None
    published, computed = text.get("published", {}), text.get("computed", {})
    return Case(
        name=name,
        question=text["question"],
        recipe=text.get("recipe"),
        published=published,
        computed=computed,
        requests=tuple(_REQUESTS[name](published, computed)),
    )


@cache
def _texts() -> dict[str, Any]:
    text = files("service.datasets").joinpath("cases.json").read_text(encoding="utf-8")
    cases: dict[str, Any] = json.loads(text)["cases"]
    return cases


@cache
def _dataset(name: str) -> Dataset:
    return _DATA[name](_texts()[name])


# The data, by their recipes.


def _given(text: dict[str, Any]) -> Dataset:
    return Dataset.from_columns(text["data"])


def _collinear(_: dict[str, Any]) -> Dataset:
    from sklearn.preprocessing import scale  # the recipe's own, and slow to import

    stream = np.random.RandomState(1443)
    x1, x2 = (np.sort(scale(stream.poisson(1_000_000, 100_000))) for _ in range(2))
    return _of(np.column_stack([x1, x2]), (x1 + x2) / 2)


def _single_sample(text: dict[str, Any]) -> Dataset:
    computed = text["computed"]
    return _of(np.array([computed["x"]]), np.array([computed["y"]]))


def _broadcast(_: dict[str, Any]) -> Dataset:
    x = np.random.RandomState(1).rand(10_000, 10)
    return _of(x, x[:, 0])


def _of(x: FloatArray, y: FloatArray) -> Dataset:
    return Dataset.from_arrays(x, y)


_DATA: dict[str, Callable[[dict[str, Any]], Dataset]] = {
    "tiny-scale": _given,
    "collinear": _collinear,
    "single-sample": _single_sample,
    "every-iteration": _given,
    "broadcast": _broadcast,
}


# The requests, and what must come out of them.

Numbers = dict[str, Any]
SIX_DIGITS = 1e-6


def _body(name: str, solver: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"data": {"case": name}, "solver": {"kind": "descent", **solver}, **rest}


def _coefficient(
    place: int,
    text: str,
    value: float,
    tolerance: float = SIX_DIGITS,
    kind: Literal["absolute", "relative"] = "relative",
    field: str = "estimate",
) -> Expectation:
    return Expectation(text, f"/result/coefficients/{place}/{field}", value, tolerance, kind)


def _computed(*expected: Expectation) -> tuple[Expectation, ...]:
    return tuple(replace(expectation, source="computed") for expectation in expected)


_MINMAX = {"scaling": {"features": "minmax", "targets": "minmax"}}


def _tiny_scale(published: Numbers, computed: Numbers) -> Iterator[CaseRequest]:
    sgd = {"kind": "sgd", "learning_rate": 0.1}
    unscaled, reference = published["unscaled_descent"], computed["reference"]
    yield CaseRequest(
        "as asked: 100 epochs, unscaled, float32",
        _body("tiny-scale", {"optimizer": sgd, "epochs": 100, "dtype": "float32"}),
        (
            _coefficient(1, "slope", unscaled["slope"]),
            _coefficient(0, "intercept", unscaled["intercept"]),
            *_computed(
                _coefficient(1, "reference slope", reference["slope"], 1e-13, field="reference"),
                _coefficient(0, "reference intercept", reference["intercept"], 1e-13, field="reference"),
            ),
        ),
    )
    solver = {"optimizer": sgd, "epochs": 1000, "dtype": "float32"}
    yield CaseRequest(
        "the remedy: minmax scaling, 1000 epochs, float32",
        _body("tiny-scale", solver, **_MINMAX),
        tuple(_minmax_descent(published, computed)),
    )
    yield CaseRequest(
        "least squares in scaled units",
        {"data": {"case": "tiny-scale"}, "solver": {"kind": "exact"}, **_MINMAX},
        tuple(_minmax_reference(published["minmax_reference_in_scaled_units"])),
    )


def _minmax_descent(published: Numbers, computed: Numbers) -> Iterator[Expectation]:
    scaled = published["minmax_descent_in_scaled_units"]
    yield _coefficient(1, "slope, scaled units", scaled["slope"], field="scaled_estimate")
    # A float32 number beside a slope near 1: the published one is itself rounded to about 1e-7.
    yield _coefficient(0, "intercept, scaled units", scaled["intercept"], 2e-7, "absolute", "scaled_estimate")
    original = computed["minmax_descent_in_original_units"]
    yield from _computed(_coefficient(1, "slope, user's units", original["slope"]))


def _minmax_reference(reference: Numbers) -> Iterator[Expectation]:
    # Published to eight decimals.
    yield _coefficient(1, "slope, scaled units", reference["slope"], 1e-8, "absolute", "scaled_estimate")
    yield _coefficient(0, "intercept, scaled units", reference["intercept"], 1e-8, "absolute", "scaled_estimate")


def _collinear_requests(_: Numbers, computed: Numbers) -> Iterator[CaseRequest]:
    for row in computed["cyclic_from_zero_lr_0_01"]:
        yield _cyclic(f"batches of {row['batch_size']} in order, from zero", row, {"kind": "zeros"})
    from_0_1 = {"kind": "values", "coefficients": [[0.0], [1.0]], "intercept": [0.0]}
    yield _cyclic("batches of 64 in order, from (0, 1)", computed["cyclic_from_0_1_lr_0_01"], from_0_1)


def _cyclic(title: str, row: Numbers, start: Numbers) -> CaseRequest:
    solver = {
        "optimizer": {"kind": "sgd", "learning_rate": 0.01},
        "epochs": row["epochs"],
        "batch_size": row["batch_size"],
        "start": start,
    }
    return CaseRequest(
        title,
        _body("collinear", solver),
        _computed(
            _coefficient(1, "x1", row["x1"]),
            _coefficient(2, "x2", row["x2"]),
            _coefficient(0, "intercept", row["intercept"], 1e-12, "absolute"),
        ),
    )


def _single_sample_requests(_: Numbers, computed: Numbers) -> Iterator[CaseRequest]:
    after = computed["after_1000_steps"]
    solver = {
        "optimizer": {"kind": "sgd", "learning_rate": 0.001},
        "epochs": 1000,
        # Our coefficients are (features, targets); the question's W maps x to W x.
        "start": {
            "kind": "values",
            "coefficients": np.transpose(computed["W0"]).tolist(),
            "intercept": computed["b0"],
        },
    }
    weights = [_coefficient(4 * k + j + 1, f"W[{k}, {j}]", after["W"][k][j], 1e-10) for k in range(3) for j in range(3)]
    intercepts = [_coefficient(4 * k, f"b[{k}]", after["b"][k], 1e-10) for k in range(3)]
    yield CaseRequest(
        "1000 steps on the one sample",
        _body("single-sample", solver, loss="sum_squares"),
        _computed(
            *weights,
            *intercepts,
            Expectation("loss", "/result/loss/final", after["loss"], 1e-10),
            Expectation("rank", "/result/reference/rank", computed["rank"], 0.0, "absolute"),
        ),
    )


def _every_iteration(published: Numbers, _: Numbers) -> Iterator[CaseRequest]:
    start = {"kind": "values", "coefficients": [[0.5]], "intercept": [0.0]}
    solver = {"optimizer": published["optimizer"], "epochs": 1, "start": start}
    record = {"record": {"every": "step"}}
    yield CaseRequest(
        "one epoch of batches of three, every iteration",
        _body("every-iteration", solver | {"batch_size": 3}, **record),
        tuple(e for step, row in enumerate(published["batches_of_three"], 1) for e in _iteration(step, row)),
    )
    full = published["one_full_batch"]
    yield CaseRequest(
        "one epoch of one full batch",
        _body("every-iteration", solver, **record),
        (*_iteration(1, full), _recorded("RMSE", "/columns/epoch_rmse", 1, full["batch_rmse_before"])),
    )


def _iteration(step: int, row: Numbers) -> Iterator[Expectation]:
    # The published losses are rounded to four decimals, and RMSprop's epsilon stood inside a float32 root.
    yield _recorded("slope", "/columns/coefficients/y/x", step, row["slope"])
    yield _recorded("intercept", "/columns/coefficients/y/(intercept)", step, row["intercept"])
    yield _recorded("batch loss before", "/columns/batch_loss", step, row["batch_loss_before"])
    yield _recorded("full loss after", "/columns/loss", step, row["full_loss_after"])


def _recorded(text: str, pointer: str, step: int, value: float, tolerance: float = SIX_DIGITS) -> Expectation:
    return Expectation(f"{text}, step {step}", pointer, value, tolerance, "relative", step)


def _broadcast_requests(published: Numbers, _: Numbers) -> Iterator[CaseRequest]:
    right = published["right"]
    solver = {"optimizer": {"kind": "sgd", "learning_rate": 0.01}, "batch_size": 100, "epochs": 101, "max_steps": 10001}
    weights = [_coefficient(j, f"weight {j}", value, 1e-6, "absolute") for j, value in enumerate(right["weights"], 1)]
    # The published losses count steps from 0 and carry float32 rounding.
    losses = [
        _recorded("batch loss", "/columns/batch_loss", int(step) + 1, value, 1e-3)
        for step, value in right["batch_loss_before"].items()
    ]
    yield CaseRequest(
        "shapes that match: 10 001 steps in batches of 100",
        _body("broadcast", solver, record={"every": "step", "limit": 20_000}, explain=["broadcast"]),
        (*weights, _coefficient(0, "bias", right["bias"], 1e-6, "absolute"), *losses),
    )


_REQUESTS: dict[str, Callable[[Numbers, Numbers], Iterator[CaseRequest]]] = {
    "tiny-scale": _tiny_scale,
    "collinear": _collinear_requests,
    "single-sample": _single_sample_requests,
    "every-iteration": _every_iteration,
    "broadcast": _broadcast_requests,
}
