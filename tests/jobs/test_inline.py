"""Fits without a detour: which they are, and that their answers are those of the others."""

import dataclasses
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam, Sgd
from service.fitting.descent.standing import Standing
from service.fitting.descent.start import Ended
from service.fitting.errors import InvalidProblem
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.penalty import L2
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solution import Report
from service.fitting.solver import Descent, Exact, Stop
from service.fitting.task import FitTask
from service.jobs.answering import answer
from service.jobs.inline import is_tiny, solve_at_once
from service.jobs.messages import Order, Solved


def _dataset(rows: int, features: int = 1) -> Dataset:
    stream = np.random.default_rng(7)
    x = stream.normal(size=(rows, features))
    return Dataset.from_arrays(x, x.sum(axis=1) + stream.normal(size=rows))


def _task(dataset: Dataset, **parts: Any) -> FitTask:
    return FitTask(**{"model": Model(dataset.names[:-1], ("y",)), "solver": Exact(), **parts})


SMALL = _dataset(50)


@pytest.mark.parametrize(("rows", "features"), [(1, 1), (2, 3), (50, 1), (50, 3)])
def test_a_small_exact_fit_is_solved_at_once(rows: int, features: int) -> None:
    dataset = _dataset(rows, features)
    assert isinstance(solve_at_once(_task(dataset), dataset), Solved)


@pytest.mark.parametrize(
    "solver",
    [
        Descent(),
        Descent(epochs=1000),
        Descent(epochs=1000, batch_size=32),
        Descent(optimizer=Sgd(0.01, 0.9, nesterov=True, weight_decay=0.1)),
        Descent(shuffle=True),
        Descent(optimizer=Sgd(1e3)),
    ],
    ids=["default", "1000 epochs", "batches", "momentum", "shuffled, all rows", "diverging"],
)
def test_a_small_descent_is_solved_at_once(solver: Descent) -> None:
    solved = solve_at_once(_task(SMALL, solver=solver), SMALL)
    assert solved is not None
    assert solved.report.engine == "numpy_closed_form"
    assert solved.trajectory is not None
    assert solved.trajectory.total_steps == solved.report.outcome.steps
    assert solved.last_part is not None
    assert solved.progress is not None
    assert solved.end_state is not None


@pytest.mark.parametrize(
    "parts",
    [
        {"solver": Descent(optimizer=Adam())},
        {"solver": Descent(optimizer=Sgd(use_ema=True))},
        {"solver": Descent(dtype="float32")},
        {"solver": Descent(backend="tensorflow")},
        {"solver": Descent(batch_size=5, shuffle=True)},
        {"solver": Descent(stop=Stop(gap_tolerance=1e-3))},
        {"solver": Descent(batch_size=1)},
        {"solver": Descent(epochs=200_000), "recording": Recording(limit=200_001)},
        {"solver": Descent(), "others": ("numpy",)},
    ],
    ids=["adam", "mean", "float32", "tensorflow", "shuffled", "watched", "many batches", "much recorded", "others"],
)
def test_a_descent_that_needs_more_is_for_the_queue(parts: dict[str, Any]) -> None:
    assert solve_at_once(_task(SMALL, **parts), SMALL) is None


def test_a_small_descent_goes_on_to_the_last_bit() -> None:
    whole = solve_at_once(_task(SMALL, solver=Descent(epochs=100)), SMALL)
    half = solve_at_once(_task(SMALL, solver=Descent(epochs=50)), SMALL)
    assert whole is not None
    assert half is not None
    assert half.end_state is not None
    onward = _task(SMALL, solver=Descent(epochs=50, start=Ended(str(uuid4()))))
    rest = solve_at_once(onward, SMALL, Standing.from_bytes(half.end_state))
    assert rest is not None
    assert [c.estimate for c in rest.report.coefficients] == [c.estimate for c in whole.report.coefficients]
    assert rest.report.outcome.iterations == 100


@pytest.mark.parametrize(("rows", "features"), [(100_000, 1), (200, 100), (20, 1000)])
def test_a_large_one_is_for_the_queue(rows: int, features: int) -> None:
    dataset = _dataset(rows, features)
    assert solve_at_once(_task(dataset), dataset) is None


def test_one_that_turns_out_to_be_hard_is_for_the_queue() -> None:
    stream = np.random.default_rng(7)
    x, y = stream.normal(size=(50, 10)), stream.normal(size=50)
    easy = Dataset.from_arrays(x, y)
    x[:, 1] = x[:, 0] + 1e-9 * stream.normal(size=50)
    hard = Dataset.from_arrays(x, y)
    assert solve_at_once(_task(easy), easy) is not None
    assert solve_at_once(_task(hard), hard) is None


def test_what_asks_other_programs_is_for_the_queue() -> None:
    assert solve_at_once(_task(SMALL, others=("numpy",)), SMALL) is None


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"solver": Exact(L2(0.5))},
        {"scaling": Scaling("standard", "minmax")},
        {"model": Model(("x1",), ("y",), degree=3)},
        {"inference": Inference("hc3", covariance=True, collinearity=True)},
        {"solver": Descent()},
        {"solver": Descent(batch_size=20, penalty=L2(0.1)), "scaling": Scaling("standard")},
    ],
)
def test_the_answer_is_what_the_queues_child_would_have_said(parts: dict[str, Any]) -> None:
    task = _task(SMALL, **parts)
    at_once, queued = solve_at_once(task, SMALL), answer(Order(task, SMALL), lambda _: None)
    assert isinstance(queued, Solved)
    assert at_once is not None
    assert _numbers(at_once.report) == pytest.approx(_numbers(queued.report), rel=1e-12, abs=1e-12, nan_ok=True)
    assert dataclasses.replace(at_once.report, **NUMBERS) == dataclasses.replace(queued.report, **NUMBERS)
    assert (at_once.trajectory, at_once.progress is None) == (queued.trajectory, queued.progress is None)


#: What is compared as numbers, taken out of what is compared as it is.
NUMBERS: dict[str, Any] = dict.fromkeys(("coefficients", "loss", "reference", "summary", "covariance", "collinearity"))


def _numbers(report: Report) -> list[float]:
    found: list[float] = []

    def gather(part: Any) -> None:
        if isinstance(part, float | int):
            found.append(float(part))
        elif isinstance(part, dict | list | tuple):
            for item in part.values() if isinstance(part, dict) else part:
                gather(item)

    gather(dataclasses.asdict(report))
    return found


def test_what_cannot_be_fitted_as_asked_is_refused() -> None:
    task = _task(SMALL, model=Model(("x1",), ("y",), intercept=False), scaling=Scaling("minmax"))
    with pytest.raises(InvalidProblem):
        solve_at_once(task, SMALL)


@pytest.mark.parametrize(
    ("tiny", "parts"),
    [
        (True, {}),
        (True, {"solver": Descent()}),
        (True, {"solver": Descent(optimizer=Adam())}),
        (True, {"solver": Descent(batch_size=16, shuffle=True, epochs=10)}),
        (False, {"others": ("numpy",)}),
        (False, {"solver": Descent(backend="tensorflow")}),
        (False, {"solver": Descent(optimizer=Adam(), epochs=10**11)}),
        (False, {"solver": Descent(batch_size=16, shuffle=True, epochs=10_000)}),
    ],
)
def test_fits_that_keep_others_waiting_for_moments_are_tiny(tiny: bool, parts: dict[str, Any]) -> None:
    assert is_tiny(_task(SMALL, **parts), SMALL) is tiny


def test_a_large_fit_is_not_tiny() -> None:
    large = _dataset(20_000, 3)
    assert not is_tiny(_task(large), large)
    assert not is_tiny(_task(large, solver=Descent(optimizer=Adam())), large)
