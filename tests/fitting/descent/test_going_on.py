"""Descents that go on from others are, to the last bit, those that never stopped."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adamw,
    Ftrl,
    Lion,
    Nadam,
    Optimizer,
    Rmsprop,
    Sgd,
)
from service.fitting.descent.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay
from service.fitting.descent.standing import Standing
from service.fitting.descent.start import Ended, GlorotUniform, Values
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Backend, Descent, Exact, Precision, Stop
from service.fitting.trajectory import Losses, Trajectory
from tests.fitting.descent.problems import Solved, random_problem, solve

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Sgd(0.05),
    "momentum": Sgd(0.02, momentum=0.9),
    "nesterov, decaying, clipped": Sgd(
        ExponentialDecay(0.05, 7, 0.9), momentum=0.8, nesterov=True, weight_decay=0.01, clipnorm=1.0
    ),
    "rmsprop": Rmsprop(0.01, centered=True, momentum=0.5),
    "adam, warming up": Adam(CosineDecay(0.01, 30, warmup_target=0.1, warmup_steps=12)),
    "amsgrad, averaged": Adam(0.05, amsgrad=True, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7),
    "adamw, averaged": Adamw(0.05, use_ema=True),
    "adamax": Adamax(0.05, global_clipnorm=2.0),
    "nadam": Nadam(0.05),
    "adagrad, in pieces": Adagrad(PiecewiseConstantDecay((11, 19), (0.2, 0.1, 0.05))),
    "adadelta": Adadelta(0.5, clipvalue=1.0),
    "lion": Lion(0.01),
    "ftrl": Ftrl(0.05, l1_regularization_strength=0.01, beta=0.1),
}
#: 23 rows: five steps an epoch with a last batch of three rows, and with all alike.
PLANS: dict[str, dict[str, Any]] = {
    "full": {},
    "in order": {"batch_size": 5},
    "dropping": {"batch_size": 4, "drop_last": True},
    "shuffled": {"batch_size": 5, "shuffle": True, "seed": 3},
}
#: The second begins with an epoch, the third inside one.
PARTS = (10, 13, 17)


def _in_parts(
    problem: Problem, descent: Descent, parts: Sequence[int], recording: Recording | None = None
) -> list[Solved]:
    """A descent that is stopped after so many steps, and gone on from, again and again."""
    solved: list[Solved] = []
    for steps in parts:
        ended = _as_stored(solved[-1].standing) if solved else None
        start = Ended("the one before") if solved else descent.start
        asked = replace(descent, epochs=steps, max_steps=steps, start=start)
        solved.append(solve(problem, asked, recording or Recording("step"), ended))
    return solved


def _as_stored(standing: Standing | None) -> Standing:
    assert standing is not None
    return Standing.from_bytes(standing.to_bytes())


def _columns(solved: Solved) -> dict[str, Any]:
    trajectory = solved.trajectory
    assert trajectory is not None
    columns = {name: getattr(trajectory, name) for name in ("step", "batch", "rows", "learning_rate", "gradient_norm")}
    columns |= {f"original {name}": getattr(trajectory.original, name) for name in LOSSES}
    if trajectory.scaled is not None:
        columns |= {f"scaled {name}": getattr(trajectory.scaled, name) for name in LOSSES}
    return columns


LOSSES = ("batch_loss", "epoch_loss", "epoch_rmse", "loss", "gap", "coefficients")


def _agree(whole: Solved, parts: list[Solved]) -> None:
    """Every recorded row of every part is, to the bit, the row of the whole at its step."""
    expected, before = _columns(whole), 0
    for part in parts:
        seen = _columns(part)
        places = np.searchsorted(expected["step"], before + seen["step"])
        np.testing.assert_array_equal(expected["step"][places], before + seen["step"])
        for name in seen.keys() - {"step"}:
            # What the start is said to be as a start, the whole says of the step it was.
            first = 0 if name.split()[-1] in ("gradient_norm", "loss", "gap", "coefficients") else 1
            np.testing.assert_array_equal(seen[name][first:], expected[name][places][first:], name)
        before += part.report.outcome.steps
        assert part.report.outcome.iterations == before
    assert before == whole.report.outcome.steps == whole.report.outcome.iterations
    assert sum(part.report.outcome.epochs for part in parts) == whole.report.outcome.epochs
    _same_end(parts[-1], whole)
    assert {part.report.engine for part in parts} == {whole.report.engine}


def _same_end(one: Solved, other: Solved) -> None:
    ends, others = ([(c.estimate, c.scaled_estimate) for c in solved.report.coefficients] for solved in (one, other))
    assert ends == others
    assert one.report.loss.final == other.report.loss.final


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parts_are_the_whole(optimizer: str, plan: str, dtype: Precision) -> None:
    problem = random_problem(5, targets=2)
    descent = Descent(optimizer=OPTIMIZERS[optimizer], dtype=dtype, start=GlorotUniform(), **PLANS[plan])
    _agree(_in_parts(problem, descent, (sum(PARTS),))[0], _in_parts(problem, descent, PARTS))


@pytest.mark.parametrize(
    ("optimizer", "plan", "dtype"),
    [
        ("sgd", "in order", "float32"),
        ("nesterov, decaying, clipped", "shuffled", "float64"),
        ("amsgrad, averaged", "in order", "float32"),
        ("nadam", "shuffled", "float32"),
        ("ftrl", "full", "float64"),
    ],
)
def test_parts_are_the_whole_on_tensorflow(optimizer: str, plan: str, dtype: Precision) -> None:
    problem = random_problem(5, targets=2)
    descent = Descent(
        backend="tensorflow", optimizer=OPTIMIZERS[optimizer], dtype=dtype, start=GlorotUniform(), **PLANS[plan]
    )
    _agree(_in_parts(problem, descent, (sum(PARTS),))[0], _in_parts(problem, descent, PARTS))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam, warming up"])
@pytest.mark.parametrize("plan", PLANS)
def test_in_other_units_with_weights_and_a_penalty(plan: str, optimizer: str, weighted: bool) -> None:
    problem = random_problem(6, scaling=Scaling("standard", "minmax"), weighted=weighted, loss="sum_squares")
    descent = Descent(optimizer=replace(OPTIMIZERS[optimizer], learning_rate=1e-3), penalty=L2(0.3), **PLANS[plan])
    _agree(_in_parts(problem, descent, (sum(PARTS),))[0], _in_parts(problem, descent, PARTS))


@pytest.mark.parametrize("epochs", [(50, 50), (30, 70), (1, 98, 1)])
@pytest.mark.parametrize("recording", [Recording(), Recording("step"), Recording(7), Recording(limit=2)])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nadam"])
def test_fifty_epochs_and_fifty_more_are_a_hundred(
    optimizer: str, plan: str, recording: Recording, epochs: tuple[int, ...]
) -> None:
    """However sparsely they are recorded: where it ends is the same."""
    problem = random_problem(7)
    descent = Descent(optimizer=OPTIMIZERS[optimizer], **PLANS[plan])
    whole = solve(problem, replace(descent, epochs=sum(epochs)), recording)
    part = solve(problem, replace(descent, epochs=epochs[0]), recording)
    for count in epochs[1:]:
        asked = replace(descent, epochs=count, start=Ended("the one before"))
        part = solve(problem, asked, recording, _as_stored(part.standing))
    _same_end(part, whole)
    assert part.report.outcome.iterations == whole.report.outcome.iterations
    assert (part.report.engine, part.report.outcome.kind) == (whole.report.engine, "step_limit")


def test_a_running_mean_is_the_answer_and_the_parameters_go_on() -> None:
    problem = random_problem(8)
    descent = Descent(optimizer=Sgd(0.05, use_ema=True, ema_momentum=0.9))
    first, second = _in_parts(problem, descent, (10, 10))
    last, start = _path(first)[-1], _path(second)[0]
    np.testing.assert_array_equal(start, last)
    assert (np.array([c.estimate for c in first.report.coefficients]) != last[:, 0]).all()


def _path(solved: Solved) -> FloatArray:
    """(r, m, q)"""
    assert solved.trajectory is not None
    coefficients: FloatArray | None = solved.trajectory.original.coefficients
    assert coefficients is not None
    return coefficients


def test_a_stop_rule_is_met_where_the_whole_meets_it() -> None:
    problem = random_problem(9)
    descent = Descent(optimizer=Sgd(0.05), epochs=1000, stop=Stop(loss_tolerance=1e-9))
    whole = solve(problem, descent)
    assert whole.report.outcome.kind == "converged"
    first = solve(problem, replace(descent, epochs=whole.report.outcome.epochs - 1))
    assert first.report.outcome.kind == "step_limit"
    rest = solve(problem, replace(descent, start=Ended("first")), ended=_as_stored(first.standing))
    assert (rest.report.outcome.kind, rest.report.outcome.epochs) == ("converged", 1)
    _same_end(rest, whole)


@pytest.mark.parametrize("backend", ["numpy", "tensorflow"])
def test_a_diverged_fit_goes_on_from_its_last_finite_state(backend: Backend) -> None:
    """Where the batch's squares have left float32, float64 and a calmer rate still lead back."""
    problem = random_problem(10)
    descent = Descent(backend=backend, dtype="float32", optimizer=Sgd(50.0), epochs=10_000, batch_size=5)
    diverged = solve(problem, descent)
    assert diverged.report.outcome.kind == "diverged"
    calmer = replace(descent, optimizer=Sgd(0.05), epochs=3, start=Ended("diverged"))
    again, back = (
        solve(problem, replace(calmer, dtype=dtype), ended=_as_stored(diverged.standing))
        for dtype in ("float32", "float64")
    )
    for rest in (again, back):
        np.testing.assert_array_equal(_path(rest)[0], _path(diverged)[-1])
    assert (again.report.outcome.kind, again.report.outcome.steps) == ("diverged", 0)
    assert (back.report.outcome.kind, back.report.outcome.steps) == ("step_limit", 15)
    assert back.report.outcome.iterations == diverged.report.outcome.steps + 15
    assert back.report.loss.final < 0.1 * diverged.report.loss.final


def test_a_new_rate_keeps_the_velocity() -> None:
    """As assigning to the learning rate of Keras's optimizer does: v <- mu v - rate g goes on with v."""
    problem = random_problem(11)
    descent = Descent(optimizer=Sgd(0.05, momentum=0.9), epochs=10)
    first = solve(problem, descent, Recording("step"))
    still = replace(descent, optimizer=Sgd(1e-300, momentum=0.9), epochs=1, start=Ended("first"))
    coasted = solve(problem, still, Recording("step"), first.standing)
    path = _path(first)
    np.testing.assert_allclose(_path(coasted)[1] - path[-1], 0.9 * (path[-1] - path[-2]), rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_a_row_of_rates_is_the_same_in_fewer_fits(optimizer: str) -> None:
    """Where the rate changes the closed form counts from there; and going on with one rate changes nothing."""
    problem = random_problem(12)
    slow, fast = (
        replace(Descent(optimizer=OPTIMIZERS[optimizer]), optimizer=replace(OPTIMIZERS[optimizer], learning_rate=r))
        for r in (0.01, 0.07)
    )

    def row(*fits: tuple[Descent, int]) -> Solved:
        solved = None
        for descent, epochs in fits:
            asked = replace(descent, epochs=epochs, start=Ended("before") if solved else descent.start)
            solved = solve(problem, asked, Recording(), _as_stored(solved.standing) if solved else None)
        assert solved is not None
        return solved

    one = row((slow, 20), (fast, 30))
    many = row((slow, 5), (slow, 15), (fast, 10), (fast, 1), (fast, 19))
    _same_end(many, one)


@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "minmax")])
def test_an_exact_fit_is_the_best_start(scaling: Scaling) -> None:
    problem = random_problem(13, scaling=scaling)
    exact = solve(problem, Exact())
    assert exact.standing is None
    estimates = np.array([[coefficient.estimate] for coefficient in exact.report.coefficients])
    ended = Standing.at(problem.model.terms, problem.model.targets, estimates)
    after = solve(problem, Descent(epochs=10, start=Ended("exact")), ended=ended)
    assert after.report.loss.excess <= 1e-28
    assert min(coefficient.matching_digits for coefficient in after.report.coefficients) > 14


def test_fresh_samples_one_after_the_other() -> None:
    """Each fit one row that is used once, from where the last one ended: plain descent on a stream."""
    stream = np.random.default_rng(14)
    truth = stream.normal(size=(4, 3))
    w, ended = np.zeros((4, 3)), None
    for _ in range(30):
        x = stream.random((1, 3))
        a = np.append(1.0, x[0])[None, :]
        dataset = Dataset.from_arrays(x, a @ truth)
        problem = Problem(dataset, random_problem(1, targets=3).model, loss="sum_squares")
        start = Values(((0.0,) * 3,) * 3, (0.0,) * 3) if ended is None else Ended("the sample before")
        solved = solve(problem, Descent(optimizer=Sgd(0.1), epochs=1, start=start), ended=ended)
        w = w - 0.1 * 2.0 * a.T @ (a @ w - dataset.columns(("y1", "y2", "y3")))
        ended = _as_stored(solved.standing)
        found = np.array([c.estimate for c in solved.report.coefficients]).reshape(3, 4).T
        np.testing.assert_allclose(found, w, rtol=1e-12, atol=1e-14)
    assert solved.report.outcome.iterations == 30


def test_every_column_is_compared() -> None:
    assert {name for name in dir(Losses) if not name.startswith("_")} == set(LOSSES)
    assert fields(Trajectory)
