"""Random problems and linear descents for the tests of what is foreseen, drawn by a seed that can be printed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.backends import engine_for
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.run import run
from service.fitting.descent.setting import Setting
from service.fitting.descent.standing import Standing
from service.fitting.descent.start import Ended, GlorotUniform, Normal, Start, Zeros
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.outlook import outlook
from service.fitting.diagnosis.simulation import Simulated, Simulation, TooLong
from service.fitting.exact import references
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from service.fitting.task import Collector
from service.fitting.trajectory import Trajectory

T = TypeVar("T")

_STARTS: tuple[Start, ...] = (Zeros(), Normal(1.0), GlorotUniform())
EVERY_STEP = Recording("step", limit=1 << 20)


def nobody(_: Simulation) -> Simulated:
    """Takes no steps: what is linear needs none."""
    raise TooLong


def foreseen(setting: Setting) -> Outlook:
    """The outlook of what has a closed form."""
    return outlook(setting, nobody)


def setting_of(problem: Problem, solver: Descent, ended: Standing | None = None) -> Setting:
    return Setting.of(problem, solver, references(problem, solver.penalty), ended)


@dataclass(frozen=True, eq=False)
class Really:
    """What a setting came to when it was run, every step on record."""

    parameters: FloatArray
    trajectory: Trajectory
    standing: Standing


@np.errstate(all="ignore")
def really(setting: Setting, recording: Recording = EVERY_STEP) -> Really:
    collector = Collector()
    came = run(setting, recording, collector, engine_for)
    assert collector.trajectory is not None
    return Really(came.finding.scaled_estimate, collector.trajectory, came.standing)


def drawn_problem(stream: np.random.Generator) -> Problem:
    """1 to 2000 rows, 1 to 7 features, 1 to 3 targets, the features' condition 1 to 1e8."""
    n, p, q = int(10.0 ** stream.uniform(0.0, 3.3)), int(stream.integers(1, 8)), int(stream.integers(1, 4))
    turned, _ = np.linalg.qr(stream.normal(size=(p, p)))
    x = stream.normal(size=(n, p)) @ (np.geomspace(1.0, 10.0 ** -stream.uniform(0.0, 8.0), p)[:, None] * turned)
    noise = 10.0 ** stream.uniform(-6.0, 0.0) * stream.normal(size=(n, q))
    dataset = Dataset.from_arrays(x, x @ stream.normal(size=(p, q)) + noise + stream.normal())
    weighted, intercept = bool(stream.random() < 0.3), bool(stream.random() < 0.8)
    if weighted:
        weights = stream.uniform(0.2, 3.0, n)
        dataset = Dataset((*dataset.names, "w"), np.column_stack([dataset.values, weights]))
    model = resolve_model(
        dataset.names, None, None, intercept, _one_of(stream, [1, 1, 1, 2]), "w" if weighted else None
    )
    centring = Scaling(_one_of(stream, ["none", "none", "standard"]), _one_of(stream, ["none", "standard"]))
    scaling = centring if intercept else Scaling(_one_of(stream, ["none", "maxabs"]))
    return Problem(dataset, model, scaling, _one_of(stream, ["mse", "mse", "sum_squares"]))


def drawn_descent(stream: np.random.Generator, rows: int) -> Descent:
    """By all rows or by batches, with momentum, decay and penalty or without; at any rate."""
    sgd = Sgd(
        momentum=_one_of(stream, [0.0, 0.0, 0.5, 0.9]),
        nesterov=bool(stream.random() < 0.5),
        weight_decay=_one_of(stream, [None, None, None, 10.0 ** stream.uniform(-6.0, -1.0)]),
    )
    sizes = [None, None, int(stream.integers(1, rows + 1)), max(rows // int(stream.integers(1, 40)), 1)]
    return Descent(
        optimizer=sgd,
        epochs=int(10.0 ** stream.uniform(0.0, 4.0)),
        batch_size=_one_of(stream, sizes),
        drop_last=bool(stream.random() < 0.3),
        start=_one_of(stream, _STARTS),
        penalty=_one_of(stream, [None, None, L2(10.0 ** stream.uniform(-6.0, 0.0))]),
    )


def drawn(seed: int, most_steps: int) -> Setting:
    """A stable descent, ending anywhere; one in three goes on from another."""
    stream = np.random.default_rng(seed)
    problem = drawn_problem(stream)
    solver = drawn_descent(stream, problem.dataset.rows)
    setting = setting_of(problem, solver)
    largest = foreseen(setting).largest_stable_learning_rate or 0.1
    rate = largest * _one_of(stream, [0.9, 0.5, 0.1, 0.01, 1e-4])
    steps = int(stream.integers(1, min(setting.plan.total_steps, most_steps) + 1))
    solver = replace(solver, optimizer=replace(solver.optimizer, learning_rate=float(rate)), max_steps=steps)
    if stream.random() < 2.0 / 3.0:
        return setting.with_solver(solver)
    earlier = replace(solver, max_steps=int(stream.integers(1, 2 * setting.plan.steps_per_epoch + 2)))
    ended = really(setting.with_solver(earlier)).standing
    return setting.with_solver(replace(solver, start=Ended("earlier")), ended)


def _one_of(stream: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(stream.integers(len(choices)))]
