"""The numbers of the cases by every engine that can take their steps, whichever the choice would be."""

import asyncio
from typing import Any

import numpy as np
import pytest

from service.api.mapping import Submission, submission_of
from service.api.schemas.request import FitRequest
from service.datasets.cases import CaseRequest, Expectation, case
from service.fitting.descent.closed_form import ClosedFormEngine, is_affine
from service.fitting.descent.engine import Arena, Engine
from service.fitting.descent.numpy_engine import NumpyRowsEngine
from service.fitting.descent.numpy_statistics import NumpyStatisticsEngine
from service.fitting.descent.rules import rule_of
from service.fitting.descent.run import run
from service.fitting.descent.setting import Setting
from service.fitting.exact import Finding, references
from service.fitting.solver import Backend, Descent
from service.fitting.task import Collector
from service.fitting.trajectory import Trajectory

ENGINES = (ClosedFormEngine, NumpyStatisticsEngine, NumpyRowsEngine)


def _requests(name: str) -> tuple[CaseRequest, ...]:
    found = case(name)
    assert found is not None
    return found.requests


def _submission(request: CaseRequest) -> Submission:
    # A case's data are no dataset of the database, and it starts from no other fit: neither store is asked.
    nobody: Any = None
    return asyncio.run(submission_of(FitRequest.model_validate(request.body), nobody, nobody))


def _suits(engine: type[Engine], request: CaseRequest) -> bool:
    solver = _submission(request).asked.task.solver
    assert isinstance(solver, Descent)
    return engine is not ClosedFormEngine or is_affine(rule_of(solver.optimizer, np.dtype(solver.dtype)))


def _descended(submission: Submission, engine: type[Any]) -> tuple[Finding, Trajectory]:
    def only_this(_: Backend, arena: Arena) -> tuple[Engine, int]:
        made = engine(arena)
        return made, made.longest_block

    task, collector = submission.asked.task, Collector()
    problem = submission.problem
    assert isinstance(task.solver, Descent)
    found = references(problem, task.solver.penalty)
    finding = run(Setting.of(problem, task.solver, found), task.recording, collector, only_this).finding
    assert collector.trajectory is not None
    return finding, collector.trajectory


def _number(expected: Expectation, finding: Finding, trajectory: Trajectory) -> float:
    """What the expectation's pointer leads to in an answer, for cases of one target without scaling."""
    last = expected.pointer.split("/")[-1]
    if expected.step is None:
        place = int(expected.pointer.split("/")[3])
        assert last == "estimate"
        return float(finding.estimate[place, 0])
    row = int(np.searchsorted(trajectory.step, expected.step))
    if last in trajectory.terms:
        coefficients = trajectory.original.coefficients
        assert coefficients is not None
        return float(coefficients[row, trajectory.terms.index(last), 0])
    return float(getattr(trajectory.original, last)[row])


CASES = [
    pytest.param(request, engine, id=f"{name}: {request.title}: {engine.name}")
    for name in ("every-iteration", "broadcast")
    for request in _requests(name)
    for engine in ENGINES
    if _suits(engine, request)
]


def test_plain_descent_is_computed_in_three_ways() -> None:
    assert [
        sum(f"{name}: " in str(parameters.id) for parameters in CASES) for name in ("every-iteration", "broadcast")
    ] == [4, 3]


@pytest.mark.parametrize(("request_", "engine"), CASES)
def test_every_number_comes_out(request_: CaseRequest, engine: type[Any]) -> None:
    finding, trajectory = _descended(_submission(request_), engine)
    assert finding.engine == engine.name
    off = {
        e.text: (e.value, number)
        for e in request_.expected
        if not e.error(number := _number(e, finding, trajectory)) <= e.tolerance
    }
    assert not off


@pytest.mark.parametrize("request_", _requests("broadcast"), ids=lambda request: request.title)
def test_they_agree_step_by_step(request_: CaseRequest) -> None:
    submission = _submission(request_)
    (_, one), *others = (_descended(submission, engine) for engine in ENGINES)
    for _, other in others:
        np.testing.assert_array_equal(one.step, other.step)
        for name in ("batch_loss", "epoch_loss", "epoch_rmse", "loss", "gap", "coefficients"):
            ours, theirs = getattr(one.original, name), getattr(other.original, name)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=name)
