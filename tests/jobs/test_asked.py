"""What identical fits share: everything that their answer depends on, and the labels it is found by."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam, Sgd
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Stop
from service.fitting.task import FitTask
from service.jobs import asked as asked_module
from service.jobs.asked import Asked

_MODELS = some.builds(Model, some.sampled_from([("x",), ("z",), ("x", "z"), ("z", "x")]), some.just(("y",)))
_OPTIMIZERS = some.builds(Sgd, some.sampled_from([0.01, 0.1])) | some.builds(Adam, some.sampled_from([0.001, 0.1]))
_DESCENTS = some.builds(
    Descent,
    optimizer=_OPTIMIZERS,
    dtype=some.sampled_from(["float32", "float64"]),
    epochs=some.sampled_from([1, 100]),
    batch_size=some.sampled_from([None, 2]),
    shuffle=some.booleans(),
    seed=some.sampled_from([0, 1]),
    stop=some.builds(Stop, gap_tolerance=some.sampled_from([None, 1e-6])),
)
_TASKS = some.builds(
    FitTask,
    _MODELS,
    some.builds(Exact) | _DESCENTS,
    scaling=some.builds(Scaling, features=some.sampled_from(["none", "standard"])),
    loss=some.sampled_from(["mse", "sum_squares"]),
    recording=some.builds(Recording, limit=some.sampled_from([100, 1000])),
    inference=some.builds(Inference, confidence_level=some.sampled_from([0.9, 0.95])),
    others=some.sampled_from([(), ("r",)]),
    explain=some.sampled_from([(), ("broadcast",)]),
)
_DATASETS = some.builds(
    lambda last: Dataset.from_columns({"x": [1.0, 2.0], "z": [0.0, 1.0], "y": [1.0, last]}),
    some.sampled_from([2.0, 3.0]),
)
_ASKED = some.builds(
    Asked,
    _DATASETS,
    _TASKS,
    some.sampled_from([{}, {"a": 1}]),
    some.sampled_from([{}, {"team": "a"}, {"team": "b"}, {"a": "team"}]),
    some.integers(-100, 100),
    some.sampled_from([None, b"", b"there"]),
    some.sampled_from([None, UUID(int=1), UUID(int=2)]),
)


def _what_counts(asked: Asked) -> Any:
    return asked.dataset.digest, asked.task, dict(asked.labels), asked.start_state, asked.parent


@settings(max_examples=500, deadline=None, derandomize=True)
@given(one=_ASKED, other=_ASKED)
def test_two_fits_are_identical_where_all_that_counts_is_equal(one: Asked, other: Asked) -> None:
    assert (one.digest == other.digest) == (_what_counts(one) == _what_counts(other))


BASE = Asked(
    Dataset.from_columns({"x": [1.0, 2.0], "y": [1.0, 3.0]}),
    FitTask(Model(("x",), ("y",)), Descent()),
    {"a": 1},
    {"team": "a", "run": "1"},
    5,
    b"there",
    UUID(int=1),
)


@pytest.mark.parametrize(
    "parts",
    [
        {"dataset": Dataset.from_columns({"x": [1.0, 2.0], "y": [1.0, 4.0]})},
        {"task": replace(BASE.task, solver=Descent(seed=1))},
        {"task": replace(BASE.task, explain=("broadcast",))},
        {"labels": {"team": "a", "run": "2"}},
        {"start_state": b"elsewhere"},
        {"parent": None},
    ],
)
def test_each_thing_that_counts_counts_by_itself(parts: dict[str, Any]) -> None:
    assert replace(BASE, **parts).digest != BASE.digest


@pytest.mark.parametrize("parts", [{"request": {}}, {"priority": 0}, {"labels": {"run": "1", "team": "a"}}])
def test_what_does_not_change_the_answer_does_not_count(parts: dict[str, Any]) -> None:
    assert replace(BASE, **parts).digest == BASE.digest


def test_another_version_of_the_engine_is_another_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_module, "__version__", "0.0.0")
    assert replace(BASE).digest != BASE.digest


@pytest.mark.parametrize("solver", [Descent(backend="tensorflow"), Descent(stop=Stop(max_seconds=5.0))])
def test_what_may_differ_from_run_to_run_is_identical_to_nothing(solver: Descent) -> None:
    assert replace(BASE, task=replace(BASE.task, solver=solver)).digest is None
