"""Round trips through JSON, non-finite numbers and unions included."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.fitting.descent.optimizers import Optimizer, Rmsprop, Sgd
from service.fitting.descent.start import GlorotUniform, Normal, Start, Values, Zeros
from service.fitting.diagnosis.answer import Diagnosis
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.penalty import L2
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Solver, Stop
from service.fitting.task import FitTask
from service.jobs.records import ERROR, PROGRESS, RESULT, TASK, FitError, FitProgress, Result, TrajectoryExtent
from tests.jobs.reports import report

OPTIMIZERS: list[Optimizer] = [Sgd(0.1, 0.9, nesterov=True), Rmsprop(centered=True)]
STARTS: list[Start] = [
    Zeros(),
    Normal(0.25),
    GlorotUniform(),
    Values(((1.0, -0.0), (5e-324, 1e300)), (0.1, 0.2), "scaled"),
    Values(((1.0,),), None),
]
SOLVERS: list[Solver] = [
    Exact(),
    Exact(L2(0.5)),
    Descent(penalty=L2(1e-300)),
    *(Descent(optimizer=optimizer) for optimizer in OPTIMIZERS),
    *(Descent(start=start, backend="tensorflow", dtype="float32") for start in STARTS),
    Descent(max_steps=7, batch_size=3, shuffle=True, seed=2**62, stop=Stop(1e-3, None, 0.1, 60.0)),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("every", ["step", "epoch", 5])
def test_a_task_comes_back_as_it_was(solver: Solver, every: int) -> None:
    task = FitTask(
        Model(("ä", "x"), ("y",), intercept=False, degree=3, weights="w"),
        solver,
        Scaling("minmax"),
        "sum_squares",
        Recording(every),
        Inference("clustered", "g", 0.9, covariance=True),
        ("r", "numpy"),
        ("broadcast",),
    )
    assert TASK.decode(TASK.encode(task)) == task


@given(st.floats(allow_nan=False))
def test_every_number_comes_back_to_the_last_bit(number: float) -> None:
    result = Result(report(number), TrajectoryExtent(3, 4))
    assert repr(RESULT.decode(RESULT.encode(result))) == repr(result)


def test_nan_comes_back_as_nan() -> None:
    result = RESULT.decode(RESULT.encode(Result(report(math.nan), None)))
    assert math.isnan(result.report.loss.final)
    assert math.isnan(result.report.coefficients[0].estimate)


def test_results_of_before_there_were_diagnoses_can_be_read() -> None:
    kept = json.loads(RESULT.encode(Result(report(), None)))
    del kept["report"]["diagnosis"]
    # It was said there instead.
    kept["report"]["remembered"] = [{"name": "x - z", "terms": ["x", "z"], "coefficients": [0.5, -0.5], "left": 1.0}]
    read = RESULT.decode(json.dumps(kept))
    assert read.report == replace(report(), diagnosis=Diagnosis())


def test_tasks_of_before_anything_could_be_explained_can_be_read() -> None:
    task = FitTask(Model(("x",), ("y",)), Descent())
    kept = json.loads(TASK.encode(task))
    del kept["explain"]
    assert TASK.decode(json.dumps(kept)) == task


@pytest.mark.parametrize("loss", [None, 0.5, math.inf, -math.inf])
def test_progress_comes_back(loss: float | None) -> None:
    progress = FitProgress(1, 10**12, 0, loss, None, 2.5, 1e9)
    assert PROGRESS.decode(PROGRESS.encode(progress)) == progress


def test_progress_of_before_its_pace_was_told_can_be_read() -> None:
    before = '{"steps_done":1,"steps_total":2,"epochs_done":1,"loss":"Infinity"}'
    assert PROGRESS.decode(before) == FitProgress(1, 2, 1, math.inf, None, None, None)


def test_what_is_written_is_json_that_postgresql_takes() -> None:
    text = PROGRESS.encode(FitProgress(1, 2, 0, math.inf))
    assert json.loads(text, parse_constant=pytest.fail)["loss"] == "Infinity"


def test_an_error_comes_back() -> None:
    error = FitError("crashed", "It ended.")
    assert ERROR.decode(ERROR.encode(error)) == error


def test_an_unknown_kind_is_refused() -> None:
    text = TASK.encode(FitTask(Model(("x",), ("y",)), Exact())).replace('"exact"', '"guess"')
    with pytest.raises(ValidationError):
        TASK.decode(text)
