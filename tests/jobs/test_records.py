"""Round trips through JSON, non-finite numbers and unions included."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.fitting.descent.optimizers import Optimizer, Rmsprop, Sgd
from service.fitting.descent.start import GlorotUniform, Normal, Start, Values, Zeros
from service.fitting.model import Model
from service.fitting.outcome import Outcome
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solution import Coefficient, LossReport, ReferenceReport, Report
from service.fitting.solver import Descent, Exact, Solver, Stop
from service.fitting.task import FitTask, Progress
from service.jobs.records import ERROR, PROGRESS, RESULT, TASK, FitError, Result, TrajectoryExtent

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
    *(Descent(optimizer=optimizer) for optimizer in OPTIMIZERS),
    *(Descent(start=start, backend="tensorflow", dtype="float32") for start in STARTS),
    Descent(max_steps=7, batch_size=3, shuffle=True, seed=2**62, stop=Stop(1e-3, None, 0.1, 60.0)),
]


def _report(number: float) -> Report:
    return Report(
        outcome=Outcome("diverged", "It grew.", 3, 1),
        engine="numpy_rows",
        coefficients=(Coefficient("y", "x", number, 1.0, number, 0.0, identified=True, scaled_estimate=number),),
        loss=LossReport(None, number, 0.5, number),
        reference=ReferenceReport("qr", 1, 2, 1e-15, math.inf),
    )


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("every", ["step", "epoch", 5])
def test_a_task_comes_back_as_it_was(solver: Solver, every: int) -> None:
    task = FitTask(
        Model(("ä", "x"), ("y",), intercept=False), solver, Scaling("minmax"), "sum_squares", Recording(every)
    )
    assert TASK.decode(TASK.encode(task)) == task


@given(st.floats(allow_nan=False))
def test_every_number_comes_back_to_the_last_bit(number: float) -> None:
    result = Result(_report(number), TrajectoryExtent(3, 4))
    assert repr(RESULT.decode(RESULT.encode(result))) == repr(result)


def test_nan_comes_back_as_nan() -> None:
    result = RESULT.decode(RESULT.encode(Result(_report(math.nan), None)))
    assert math.isnan(result.report.loss.final)
    assert math.isnan(result.report.coefficients[0].estimate)


@pytest.mark.parametrize("loss", [None, 0.5, math.inf, -math.inf])
def test_progress_comes_back(loss: float | None) -> None:
    progress = Progress(1, 10**12, 0, loss)
    assert PROGRESS.decode(PROGRESS.encode(progress)) == progress


def test_what_is_written_is_json_that_postgresql_takes() -> None:
    text = PROGRESS.encode(Progress(1, 2, 0, math.inf))
    assert json.loads(text, parse_constant=pytest.fail)["loss"] == "Infinity"


def test_an_error_comes_back() -> None:
    error = FitError("crashed", "It ended.")
    assert ERROR.decode(ERROR.encode(error)) == error


def test_an_unknown_kind_is_refused() -> None:
    text = TASK.encode(FitTask(Model(("x",), ("y",)), Exact())).replace('"exact"', '"guess"')
    with pytest.raises(ValidationError):
        TASK.decode(text)
