"""Forecasts in plain numbers, beside the fits that they foretell."""

from dataclasses import asdict

import numpy as np
import pytest

from service.fitting.descent.optimizers import Adam, Optimizer, Sgd
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import Normal
from service.fitting.diagnosis.answer import FRACTIONS, Forecast, Gap
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.end import Means
from service.fitting.diagnosis.forecast import forecast, trajectory_bytes
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem
from tests.fitting.diagnosis.linear_problems import really, setting_of


def _measured_by_nobody(_: Setting) -> Gap:
    raise TooLong


def _forecast(setting: Setting, recording: Recording | None = None) -> Forecast:
    return forecast(setting, recording or Recording(), Means(simulate, _measured_by_nobody))


OPTIMIZERS: tuple[Optimizer, ...] = (Sgd(0.05), Sgd(0.05, 0.5), Adam(0.01))


@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "minmax")])
@pytest.mark.parametrize("batch_size", [None, 6])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_end_is_the_fit_in_the_users_units(optimizer: Optimizer, batch_size: int | None, scaling: Scaling) -> None:
    problem = random_problem(1, targets=2, scaling=scaling)
    solver = Descent(optimizer=optimizer, batch_size=batch_size, epochs=40, start=Normal(1.0))
    setting = setting_of(problem, solver)
    told, real = _forecast(setting), really(setting).trajectory.original
    assert real.coefficients is not None
    assert told.exact
    assert told.end.steps == setting.plan.total_steps
    assert told.end.loss == pytest.approx(real.loss[-1], rel=1e-9)
    end = {(one.target, one.term): one for one in told.end.coefficients}
    for k, target in enumerate(problem.model.targets):
        for j, term in enumerate(problem.model.terms):
            assert end[target, term].expected == pytest.approx(real.coefficients[-1, j, k], rel=1e-9, abs=1e-9)
            assert end[target, term].sd == 0.0


def test_what_is_said_is_plain() -> None:
    told = _forecast(setting_of(random_problem(2), Descent(optimizer=Sgd(0.1), start=Normal(1.0))))
    assert told.method == "eigen"
    assert told.stable
    assert [step.fraction for step in told.steps_to] == list(FRACTIONS)
    steps = [step.steps for step in told.steps_to]
    assert steps == sorted(step for step in steps if step is not None)
    assert told.limit is not None
    assert told.limit.steps is None
    assert {type(value) for value in asdict(told.end)["coefficients"][0].values()} == {str, float}


def test_the_limit_is_the_reference_where_nothing_keeps_it_away() -> None:
    setting = setting_of(random_problem(3, scaling=Scaling("standard", "standard")), Descent(optimizer=Sgd(0.1)))
    limit = _forecast(setting).limit
    assert limit is not None
    expected = setting.optimum.parameters[:, 0]
    np.testing.assert_allclose([one.expected for one in limit.coefficients], expected, rtol=1e-12)
    assert limit.loss == pytest.approx(setting.optimum.least, rel=1e-12)


def test_what_diverges_has_no_limit() -> None:
    told = _forecast(setting_of(random_problem(4), Descent(optimizer=Sgd(5.0), epochs=10**6)))
    assert (told.stable, told.limit) == (False, None)
    assert {step.steps for step in told.steps_to} == {None}
    assert told.end.steps is not None
    assert told.end.steps < 10**6


@pytest.mark.parametrize("coefficients", [True, False])
@pytest.mark.parametrize(
    ("every", "limit"), [("step", 10_000), ("epoch", 10_000), (7, 10_000), ("step", 50), ("epoch", 11), (3, 2)]
)
@pytest.mark.parametrize("rate", [0.05, 0.9])
def test_the_bytes_are_those_of_the_trajectory(rate: float, every: str | int, limit: int, coefficients: bool) -> None:
    """By which it is told included; with a rate of 0.9 the row of least loss is not the last."""
    recording = Recording(every, coefficients, limit)  # type: ignore[arg-type]
    setting = setting_of(
        random_problem(5, targets=2), Descent(optimizer=Sgd(rate), batch_size=6, epochs=30, start=Normal(1.0))
    )
    written = really(setting, recording).trajectory
    assert trajectory_bytes(setting, recording) == written.records.nbytes + len(written.account.to_bytes())
