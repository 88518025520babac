"""Forecasts where HTTP is served: what is known of data is used again, within bounds, and changes no answer."""

from dataclasses import replace

import numpy as np
import pytest

from service.bootstrap import Services
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam, Sgd
from service.fitting.descent.standing import Standing
from service.fitting.descent.start import Ended
from service.fitting.diagnosis.simulation import Simulated, Simulation, TooLong
from service.fitting.fit import fit
from service.fitting.model import Model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from service.fitting.task import Collector, FitTask
from service.jobs.asked import Asked
from service.jobs.forecasting import Forecaster
from service.jobs.held_bytes import held_bytes

pytestmark = pytest.mark.anyio

MODEL = Model(("x", "z"), ("y",))
ROWS = 200


def _dataset(seed: int = 0) -> Dataset:
    x, z, noise = np.random.default_rng(seed).normal(size=(3, ROWS))
    return Dataset(("x", "z", "y"), np.column_stack([3 * x + 5, z, x - z + 0.1 * noise]))


def _nobody(_: Simulation) -> Simulated:
    raise TooLong


@pytest.fixture
def forecaster(services: Services) -> Forecaster:
    return Forecaster(services.datasets, _nobody)


TASKS = {
    "plain": FitTask(MODEL, Descent()),
    "scaled": FitTask(MODEL, Descent(), Scaling("standard", "minmax")),
    "penalised": FitTask(MODEL, Descent(penalty=L2(0.5))),
    "penalised, scaled": FitTask(MODEL, Descent(penalty=L2(0.5)), Scaling("standard")),
    "another loss": FitTask(MODEL, Descent(optimizer=Sgd(1e-5)), loss="sum_squares"),
    "another model": FitTask(Model(("z",), ("y",), degree=2), Descent()),
    "batches": FitTask(MODEL, Descent(batch_size=20, epochs=3)),
    "momentum": FitTask(MODEL, Descent(optimizer=Sgd(0.01, 0.9))),
}


async def test_what_is_known_changes_no_forecast(services: Services, forecaster: Forecaster) -> None:
    dataset = _dataset()
    for task in [*TASKS.values(), *TASKS.values()]:
        alone = Forecaster(services.datasets, _nobody).forecast(task, dataset, None)
        assert forecaster.forecast(task, dataset, None) == alone


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
async def test_the_end_is_where_the_descent_ends(forecaster: Forecaster, task: FitTask) -> None:
    """Whatever was forecast of the same data before."""
    dataset = _dataset()
    for other in TASKS.values():
        forecaster.forecast(other, dataset, None)
    expected = forecaster.forecast(task, dataset, None).end
    solution = fit(task.problem(dataset), task.solver, task.recording, Collector())
    assert [item.expected for item in expected.coefficients] == pytest.approx(
        [item.estimate for item in solution.report.coefficients], rel=1e-9
    )


async def test_a_problem_is_made_once_for_all_that_asks_for_it(forecaster: Forecaster) -> None:
    dataset, task = _dataset(), TASKS["scaled"]
    problem = forecaster.problem(task, dataset)
    forecaster.forecast(task, dataset, None)
    same = forecaster.problem(replace(task, solver=Descent(batch_size=5)), _dataset())
    assert same is problem
    assert forecaster.problem(replace(task, scaling=Scaling()), dataset) is not problem
    assert forecaster.problem(task, _dataset(1)).dataset.digest != dataset.digest


async def test_a_start_from_another_fit_is_its_own(forecaster: Forecaster) -> None:
    dataset, task = _dataset(), TASKS["plain"]
    started = replace(task, solver=Descent(start=Ended("a"), epochs=1))
    ends = []
    for size in (1.0, 2.0):
        ended = Standing.at(MODEL.terms, MODEL.targets, np.full((3, 1), size))
        ends.append(forecaster.forecast(started, dataset, ended).end.loss)
    assert ends[0] < ends[1]


async def test_the_longest_unused_is_forgotten(services: Services) -> None:
    task, first, second, third = TASKS["plain"], *(_dataset(seed) for seed in range(3))
    alone = Forecaster(services.datasets, _nobody)
    before = held_bytes(alone)
    alone.forecast(task, first, None)
    room_for_two = 5 * (held_bytes(alone) - before) // 2
    forecaster, problems = Forecaster(services.datasets, _nobody, room_for_two), dict[str, Problem]()
    for dataset in (first, second, first, third):
        forecaster.forecast(task, dataset, None)
        problems.setdefault(dataset.digest, forecaster.problem(task, dataset))
    assert forecaster.problem(task, second) is not problems[second.digest]
    assert forecaster.problem(task, third) is problems[third.digest]


async def test_what_is_too_large_is_not_kept(services: Services) -> None:
    dataset = _dataset()
    forecaster = Forecaster(services.datasets, _nobody, most_bytes=dataset.values.nbytes)
    before = held_bytes(forecaster)
    assert forecaster.forecast(TASKS["plain"], dataset, None).exact
    assert held_bytes(forecaster) == before


async def test_a_known_dataset_is_asked_for_and_not_read_again(services: Services, forecaster: Forecaster) -> None:
    dataset, task = _dataset(), TASKS["plain"]
    assert await forecaster.get(dataset.digest) is None
    forecaster.forecast(task, dataset, None)
    # It came with a request, and nobody has stored it.
    assert await forecaster.get(dataset.digest) is None
    await services.fits.submit(Asked(dataset, task, {}))
    assert await forecaster.get(dataset.digest) is dataset
    read = await Forecaster(services.datasets, _nobody).get(dataset.digest)
    assert read is not None
    assert read.digest == dataset.digest


async def test_what_nobody_can_simulate_has_no_forecast(forecaster: Forecaster) -> None:
    adam = FitTask(MODEL, Descent(optimizer=Adam()))
    with pytest.raises(TooLong):
        forecaster.forecast(adam, _dataset(), None)
    assert forecaster.forecast(TASKS["plain"], _dataset(), None).exact


async def test_a_remedy_is_verified_where_it_has_a_closed_form(forecaster: Forecaster) -> None:
    [first, *_] = forecaster.forecast(TASKS["plain"], _dataset(), None).diagnosis.remedies
    assert first.verified
