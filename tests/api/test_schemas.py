"""The contract's own example with what was added since, its defaults, and its words beside the domain's."""

import asyncio
import dataclasses
import json
import time
from typing import Any, get_args

import numpy as np
import pytest

from service.api.json_text import parse
from service.api.mapping import dataset_of
from service.api.optimizer_mapping import optimizer_of
from service.api.schemas import diagnosis as said
from service.api.schemas import fit, forecast, inference, optimizer
from service.api.schemas import solver as asked
from service.api.schemas.bodies import LONGEST_COLUMN_NAME
from service.api.schemas.request import (
    ExplanationName,
    FitRequest,
    InferenceOptions,
    ModelOptions,
    RecordOptions,
    ScalingOptions,
)
from service.fitting import penalty, solution
from service.fitting import solver as domain
from service.fitting.data import LONGEST_NAME, Dataset
from service.fitting.descent import optimizers, schedules, start
from service.fitting.diagnosis import answer as diagnosed
from service.fitting.diagnosis.end import Explanation
from service.fitting.inference import tables
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.others import answer
from service.fitting.outcome import Outcome
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.task import FitTask
from service.jobs.records import TASK, FitError, FitProgress

EXAMPLE = """
{
  "data": {"columns": {"x": [0.1, 0.2], "y": [1.0, 2.0]}},
  "model": {"features": ["x"], "targets": ["y"], "intercept": true, "degree": 1, "weights": null},
  "scaling": {"features": "none", "targets": "none"},
  "loss": "mse",
  "solver": {
    "kind": "descent", "backend": "numpy", "dtype": "float64",
    "optimizer": {
      "kind": "sgd", "learning_rate": 0.01, "momentum": 0.0, "nesterov": false, "weight_decay": null,
      "clipnorm": null, "clipvalue": null, "global_clipnorm": null,
      "use_ema": false, "ema_momentum": 0.99, "ema_overwrite_frequency": null
    },
    "epochs": 100, "max_steps": null, "batch_size": null, "shuffle": false, "drop_last": false, "seed": 0,
    "start": {"kind": "zeros"},
    "stop": {"gradient_tolerance": null, "loss_tolerance": null, "gap_tolerance": null, "max_seconds": null},
    "penalty": null
  },
  "inference": {
    "standard_errors": "classical", "clusters": null, "confidence_level": 0.95,
    "covariance": false, "collinearity": false
  },
  "others": [],
  "explain": [],
  "record": {"every": "epoch", "coefficients": true, "limit": 10000},
  "labels": {},
  "priority": 0
}
"""


def test_the_contracts_example_is_accepted_and_shows_the_defaults() -> None:
    example = json.loads(EXAMPLE)
    assert FitRequest.model_validate(example).to_json() == example
    short = FitRequest.model_validate({"data": example["data"]}).to_json()
    short["model"] |= {"features": ["x"], "targets": ["y"]}
    assert short == example


PAIRS: list[tuple[type, type]] = [
    *((getattr(optimizer, value.__name__), value) for value in get_args(optimizers.Optimizer)),
    *((getattr(optimizer, value.__name__), value) for value in get_args(schedules.Schedule)),
    (optimizer.OptimizerOptions, optimizers.Usual),
    (asked.Stop, domain.Stop),
    (asked.Exact, domain.Exact),
    (asked.Descent, domain.Descent),
    (asked.L2Penalty, penalty.L2),
    (asked.ValuesStart, start.Values),
    (asked.NormalStart, start.Normal),
    (ModelOptions, Model),
    (ScalingOptions, Scaling),
    (InferenceOptions, Inference),
    (RecordOptions, Recording),
]


@pytest.mark.parametrize(("schema", "value"), PAIRS, ids=[schema.__name__ for schema, _ in PAIRS])
def test_the_contract_and_the_domain_use_the_same_words_and_defaults(schema: Any, value: Any) -> None:
    fields = {field.name: field.default for field in dataclasses.fields(value)}
    assert schema.model_fields.keys() == fields.keys()
    for name, default in fields.items():
        if default is not dataclasses.MISSING:
            assert schema.model_fields[name].default == default


def test_an_optimizers_own_options_come_before_the_usual_ones() -> None:
    usual = list(optimizer.OptimizerOptions.model_fields)
    assert list(optimizer.Sgd.model_fields) == ["kind", "learning_rate", "momentum", "nesterov", *usual]
    rest = [name for name in usual if name != "weight_decay"]
    own = ["kind", "learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad"]
    assert list(optimizer.Adamw.model_fields) == own + rest


SCHEDULES: list[dict[str, Any]] = [
    {"kind": "exponential_decay", "initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9},
    {"kind": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 10, "warmup_target": 0.2, "warmup_steps": 3},
    {"kind": "piecewise_constant_decay", "boundaries": [3, 9], "values": [0.1, 0.05, 0.01]},
]


@pytest.mark.parametrize("rate", [0.1, *SCHEDULES])
@pytest.mark.parametrize("kind", [value.kind for value in get_args(optimizers.Optimizer)])
def test_optimizers_are_the_domains_and_can_be_sent_again(kind: str, rate: Any) -> None:
    body = {"data": {"case": "collinear"}, "solver": {"optimizer": {"kind": kind, "learning_rate": rate}}}
    request = FitRequest.model_validate(body)
    assert FitRequest.model_validate(request.to_json()) == request
    assert isinstance(request.solver, asked.Descent)
    found = optimizer_of(request.solver.optimizer)
    assert found.kind == kind
    expected = {name: tuple(value) if isinstance(value, list) else value for name, value in _shown(rate).items()}
    assert _shown(found.learning_rate).items() >= expected.items()
    task = FitTask(Model((), ("y",)), domain.Descent(optimizer=found))
    assert TASK.decode(TASK.encode(task)) == task


def _shown(rate: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(rate) and not isinstance(rate, type):
        return dataclasses.asdict(rate)
    return rate if isinstance(rate, dict) else {"rate": rate}


ANSWERED: list[tuple[type, type]] = [
    (fit.Coefficient, solution.Coefficient),
    (fit.LossComparison, solution.LossReport),
    (fit.Outcome, Outcome),
    (fit.Progress, FitProgress),
    (fit.Reference, solution.ReferenceReport),
    (fit.FitError, FitError),
    (inference.TargetSummary, tables.TargetSummary),
    (inference.Inference, tables.InferenceReport),
    (inference.CovarianceMatrix, tables.CovarianceMatrix),
    (inference.Collinearity, tables.Collinearity),
    (inference.OtherAnswer, answer.OtherAnswer),
    (inference.OtherCoefficient, answer.OtherCoefficient),
    (said.StepsTo, diagnosed.StepsTo),
    (said.Gap, diagnosed.Gap),
    (said.Cause, diagnosed.Cause),
    (forecast.ExpectedCoefficient, diagnosed.Expected),
    (forecast.End, diagnosed.Place),
]


@pytest.mark.parametrize(("schema", "value"), ANSWERED, ids=[schema.__name__ for schema, _ in ANSWERED])
def test_what_is_answered_has_the_domains_names(schema: Any, value: Any) -> None:
    assert schema.model_fields.keys() == {field.name for field in dataclasses.fields(value)}


def _names(value: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(value)}


def test_a_report_has_all_of_a_result_but_the_trajectory() -> None:
    report = _names(solution.Report) - {"diagnosis"} | _names(diagnosed.Diagnosis)
    assert fit.FitResult.model_fields.keys() == report | {"trajectory"}


def test_a_forecast_is_answered_with_its_diagnosis_beside_the_rest() -> None:
    assert forecast.Forecast.model_fields.keys() == _names(diagnosed.Forecast) - {"diagnosis"} | _names(
        diagnosed.Diagnosis
    )


def test_what_is_computed_of_a_diagnosis_is_answered_too() -> None:
    assert said.Direction.model_fields.keys() == _names(diagnosed.Direction) - {"coefficients"}
    assert said.Remedy.model_fields.keys() == _names(diagnosed.Remedy) | {"verified", "href"}


def test_what_can_be_explained_has_the_domains_names() -> None:
    assert get_args(ExplanationName) == get_args(Explanation)


def test_column_names_have_the_same_bound_on_both_sides() -> None:
    assert LONGEST_COLUMN_NAME == LONGEST_NAME


async def _dataset(data: dict[str, Any]) -> Dataset:
    return await dataset_of(FitRequest.model_validate({"data": data}).data, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("x", [[1, 2, 3], [[1], [2], [3]]])
@pytest.mark.parametrize("y", [[4, 5, 6], [[4], [5], [6]]])
def test_a_flat_list_is_one_column(x: Any, y: Any) -> None:
    dataset = asyncio.run(_dataset({"x": x, "y": y}))
    assert dataset.names == ("x1", "y")
    np.testing.assert_array_equal(dataset.values, [[1, 4], [2, 5], [3, 6]])


def test_three_hundred_thousand_numbers_are_read_at_once() -> None:
    """An order of magnitude above what is measured (about 30 ms), far below a validator called for each number."""
    text = json.dumps({"data": {"columns": {"x": list(np.random.default_rng(0).random(300_000)), "y": [1]}}})
    started = time.perf_counter()
    FitRequest.model_validate(parse(text.encode()))
    assert time.perf_counter() - started < 0.5
