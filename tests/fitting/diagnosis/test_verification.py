"""Fits that are really run to be measured, and those that would take too long."""

from dataclasses import replace

import numpy as np
import pytest

from service.fitting.descent.backends import closed_form, engine_for
from service.fitting.descent.engine import Arena, Engine
from service.fitting.descent.optimizers import Adam, Optimizer, Sgd
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import GlorotUniform
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.diagnosis.verification import measured, preparing_seconds, stepping_seconds
from service.fitting.exact import references
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Backend, Descent
from tests.fitting.descent.problems import random_problem, solve

BUDGET = 0.05


def _setting(problem: Problem, solver: Descent) -> Setting:
    return Setting.of(problem, solver, references(problem, solver.penalty))


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("optimizer", [Sgd(0.05), Sgd(0.01, 0.9), Adam(0.1)])
def test_it_is_the_gap_of_the_fit(optimizer: Optimizer, shuffle: bool, batch_size: int | None) -> None:
    problem = random_problem(1, targets=2, scaling=Scaling("standard", "minmax"))
    solver = Descent(
        optimizer=optimizer, epochs=30, batch_size=batch_size, shuffle=shuffle, seed=3, start=GlorotUniform()
    )
    gap = measured(_setting(problem, solver), engine_for, BUDGET)
    coefficients = solve(problem, solver).report.coefficients
    assert gap.gap == pytest.approx(np.linalg.norm([c.difference for c in coefficients]), rel=1e-12)
    assert gap.steps == 30 * (1 if batch_size is None else 6)


def test_what_diverges_ends_nowhere() -> None:
    gap = measured(_setting(random_problem(1), Descent(optimizer=Sgd(100.0), epochs=10_000)), engine_for, BUDGET)
    assert gap.gap == np.inf
    assert gap.steps < 10_000


def test_a_closed_form_takes_any_number_of_steps() -> None:
    setting = _setting(random_problem(1), Descent(optimizer=Sgd(0.01), epochs=10**12))
    assert measured(setting, engine_for, BUDGET).gap < 1e-14


@pytest.mark.parametrize(
    "solver",
    [
        Descent(epochs=10**9, optimizer=Adam()),
        Descent(epochs=10**6, batch_size=1, shuffle=True),
        Descent(epochs=10**9, dtype="float32"),
        Descent(epochs=1, backend="tensorflow"),
    ],
)
def test_what_would_take_longer_is_not_begun(solver: Descent) -> None:
    with pytest.raises(TooLong):
        measured(_setting(random_problem(1), solver), engine_for, BUDGET)


def test_no_engine_is_made_for_data_that_take_longer() -> None:
    asked: list[Backend] = []

    def engine(backend: Backend, arena: Arena) -> tuple[Engine, int]:
        asked.append(backend)
        return engine_for(backend, arena)

    setting = _setting(random_problem(1), Descent())
    with pytest.raises(TooLong):
        measured(setting, engine, preparing_seconds(setting) / 2.0)
    assert not asked
    measured(setting, engine, BUDGET)
    assert asked == ["numpy"]


class _NobodyHere(Exception):
    pass


def test_who_has_no_engine_for_it_says_so() -> None:
    def closed_forms_only(backend: Backend, arena: Arena) -> tuple[Engine, int]:  # noqa: ARG001
        if (engine := closed_form(arena)) is None:
            raise _NobodyHere
        return engine

    setting = _setting(random_problem(1), Descent(optimizer=Adam(), epochs=3))
    with pytest.raises(_NobodyHere):
        measured(setting, closed_forms_only, BUDGET)
    assert measured(setting.with_solver(Descent()), closed_forms_only, BUDGET).gap > 0.0


def test_work_is_counted_by_steps_rows_and_numbers() -> None:
    setting = _setting(random_problem(1, rows=100), Descent(epochs=50, batch_size=10))
    more = setting.with_solver(replace(setting.solver, epochs=100))
    for by_rows in (False, True):
        seconds = stepping_seconds(setting, by_rows=by_rows)
        assert stepping_seconds(more, by_rows=by_rows) == pytest.approx(2.0 * seconds)
        assert stepping_seconds(more, by_rows=by_rows, most_steps=500) == pytest.approx(seconds)
    wider = _setting(random_problem(1, rows=100, features=9), setting.solver)
    assert stepping_seconds(wider, by_rows=False) > stepping_seconds(setting, by_rows=False)
    assert preparing_seconds(wider) > preparing_seconds(setting)
