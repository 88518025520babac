"""Fits without a detour: which they are, and that their answers are those of the others."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.penalty import L2
from service.fitting.scaling import Scaling
from service.fitting.solution import Report
from service.fitting.solver import Descent, Exact
from service.fitting.task import FitTask
from service.jobs.answering import answer
from service.jobs.inline import solve_at_once
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
    assert isinstance(solve_at_once(_task(dataset), dataset), Report)


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


@pytest.mark.parametrize("parts", [{"solver": Descent(epochs=1)}, {"others": ("numpy",)}], ids=["descent", "others"])
def test_another_kind_of_fit_is_for_the_queue(parts: dict[str, Any]) -> None:
    assert solve_at_once(_task(SMALL, **parts), SMALL) is None


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"solver": Exact(L2(0.5))},
        {"scaling": Scaling("standard", "minmax")},
        {"model": Model(("x1",), ("y",), degree=3)},
        {"inference": Inference("hc3", covariance=True, collinearity=True)},
    ],
)
def test_the_answer_is_what_the_queues_child_would_have_said(parts: dict[str, Any]) -> None:
    task = _task(SMALL, **parts)
    at_once, queued = solve_at_once(task, SMALL), answer(Order(task, SMALL), lambda _: None)
    assert isinstance(queued, Solved)
    assert isinstance(at_once, Report)
    assert _numbers(at_once) == pytest.approx(_numbers(queued.report), rel=1e-12, abs=1e-12, nan_ok=True)
    assert dataclasses.replace(at_once, **NUMBERS) == dataclasses.replace(queued.report, **NUMBERS)


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
