"""The mistake in the shapes: what it would have come to, against the published run and against all pairs."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from service.datasets.cases import case
from service.fitting.arrays import FloatArray, IntArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam, Optimizer, Rmsprop, Sgd
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.row_orders import RowOrders
from service.fitting.descent.start import Ended
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.broadcast import shape_mistake
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.simulation import Simulated, Simulation, TooLong
from service.fitting.loss import Loss
from service.fitting.penalty import Penalty
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem
from tests.fitting.diagnosis.diagnosed import ENDS, Ran, of_case, ran

SIZE = 4


def _mistake(found: Ran) -> Cause:
    return shape_mistake(found.setting, found.end, found.setting.account(ENDS), simulate)


def _coefficients(cause: Cause, problem: Problem) -> FloatArray:
    """(m,)"""
    return np.array([cause.numbers[f"with the mistake: {term}"] for term in problem.model.terms], dtype=np.float64)


def test_the_case_ends_where_it_was_published() -> None:
    """To every digit: the published numbers have eight decimals."""
    problem, found = of_case("broadcast"), case("broadcast")
    assert found is not None
    published = found.published["broadcast_mistake"]
    solver = Descent(optimizer=Sgd(0.01), batch_size=100, epochs=101, max_steps=10_001)
    ours = _coefficients(_mistake(ran(problem, solver)), problem)
    np.testing.assert_allclose(ours, [published["bias"], *published["weights"]], rtol=0.0, atol=5e-9)


def _of_pairs(problem: Problem, batches: Iterator[IntArray]) -> Problem:
    """The rows of every batch beside all of its targets, one batch after the other."""
    values, [target] = problem.dataset.values, problem.model.targets
    place, parts = problem.dataset.names.index(target), []
    for rows in batches:
        pairs = np.repeat(values[rows], len(rows), axis=0)
        pairs[:, place] = np.tile(values[rows, place], len(rows))
        parts.append(pairs)
    return replace(problem, dataset=Dataset(problem.dataset.names, np.concatenate(parts)))


def _in_order(rows: int) -> Iterator[IntArray]:
    yield from np.arange(rows).reshape(-1, SIZE)


OPTIMIZERS: tuple[Optimizer, ...] = (Sgd(0.02), Sgd(0.01, momentum=0.9, nesterov=True), Adam(0.05), Rmsprop(0.01))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
@pytest.mark.parametrize("loss", ["mse", "sum_squares"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "standard")], ids=["plain", "scaled"])
def test_it_is_the_descent_by_all_pairs(optimizer: Optimizer, loss: Loss, weighted: bool, scaling: Scaling) -> None:
    if loss == "sum_squares":
        optimizer = replace(optimizer, learning_rate=0.1 * float(optimizer.learning_rate) / SIZE)  # type: ignore[arg-type]
    problem = random_problem(7, rows=24, loss=loss, weighted=weighted, scaling=scaling)
    solver = Descent(optimizer=optimizer, batch_size=SIZE, epochs=8, penalty=Penalty(0.02))
    ours = _coefficients(_mistake(ran(problem, solver)), problem)
    pairs = ran(_of_pairs(problem, _in_order(24)), replace(solver, batch_size=SIZE**2))
    np.testing.assert_allclose(ours, pairs.end.estimate[:, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
@pytest.mark.parametrize("loss", ["mse", "sum_squares"])
def test_shuffled_batches_meet_the_means_of_their_own_rows(optimizer: Optimizer, loss: Loss) -> None:
    problem, epochs = random_problem(8, rows=24, loss=loss), 5
    solver = Descent(optimizer=optimizer, batch_size=SIZE, epochs=epochs, shuffle=True, seed=3)
    if loss == "sum_squares":
        solver = replace(solver, optimizer=replace(optimizer, learning_rate=0.001))
    ours = _coefficients(_mistake(ran(problem, solver)), problem)
    plan = BatchPlan(24, SIZE, 24 // SIZE, epochs * 24 // SIZE, shuffle=True, seed=3)
    orders = RowOrders(plan).for_steps(0, plan.total_steps)
    assert orders is not None
    batches = iter(orders.reshape(-1, SIZE))
    pairs = ran(_of_pairs(problem, batches), replace(solver, batch_size=SIZE**2, shuffle=False, epochs=1))
    np.testing.assert_allclose(ours, pairs.end.estimate[:, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shuffle", [False, True])
def test_it_goes_on_from_where_another_fit_ended(shuffle: bool) -> None:
    """As the descent itself does: with its memory, its place in the epoch and its shuffles."""
    problem = random_problem(9, rows=24)
    whole = Descent(optimizer=Adam(0.05), batch_size=SIZE, max_steps=20, shuffle=shuffle)
    half = ran(problem, replace(whole, max_steps=8))
    rest = ran(problem, replace(whole, max_steps=12, start=Ended("a")), half.standing)
    # Targets that are all alike: the mistake makes no difference to them, and goes on as the descent does.
    same = replace(problem, dataset=_with_targets(problem.dataset, np.full(24, 2.0)))
    first = ran(same, replace(whole, max_steps=8))
    second = ran(same, replace(whole, max_steps=12, start=Ended("a")), first.standing)
    np.testing.assert_allclose(_coefficients(_mistake(second), same), second.end.estimate[:, 0], rtol=1e-9)
    assert np.abs(_coefficients(_mistake(rest), problem) - rest.end.estimate[:, 0]).max() > 1e-3


def _with_targets(dataset: Dataset, y: FloatArray) -> Dataset:
    return Dataset(dataset.names, np.column_stack([dataset.values[:, :-1], y]))


def test_a_short_last_batch_and_one_that_is_dropped() -> None:
    """23 rows in batches of 4: the last three rows meet the mean of their own targets, or nobody."""
    problem = random_problem(10, rows=23)
    means = problem.y[:, 0].copy()
    for first in range(0, 23, SIZE):
        means[first : first + SIZE] = means[first : first + SIZE].mean()
    same = replace(problem, dataset=_with_targets(problem.dataset, means))
    for drop_last in (False, True):
        solver = Descent(optimizer=Sgd(0.02), batch_size=SIZE, epochs=30, drop_last=drop_last)
        ours = _coefficients(_mistake(ran(problem, solver)), problem)
        np.testing.assert_allclose(ours, ran(same, solver).end.estimate[:, 0], rtol=1e-9)


def test_the_losses_are_those_of_all_rows() -> None:
    problem = random_problem(11, rows=24, weighted=True)
    found = ran(problem, Descent(optimizer=Sgd(0.05), epochs=300))
    cause = _mistake(found)
    ended = _coefficients(cause, problem)
    fitted, y, s = ended[0] + problem.x @ ended[1:], problem.y[:, 0], problem.weights
    assert s is not None
    assert cause.numbers["loss"] == pytest.approx((s * np.square(fitted - y)).mean(), rel=1e-9)
    pairs = np.square(fitted[:, None] - y[None, :]) * s[:, None]
    assert cause.numbers["printed_loss"] == pytest.approx(pairs.mean(), rel=1e-9)


def test_where_nobody_can_take_the_steps_it_says_so() -> None:
    def nobody(_: Simulation) -> Simulated:
        raise TooLong

    problem = random_problem(12)
    found = ran(problem, Descent(optimizer=Adam(), batch_size=5, epochs=2))
    cause = shape_mistake(found.setting, found.end, found.setting.account(ENDS), nobody)
    assert set(cause.numbers.values()) == {None}
    assert "could not be computed" in cause.message
