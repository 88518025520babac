"""The closed form, against exact arithmetic, and that it goes on where it stopped."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.fitting.arrays import FloatArray, WorkingArray
from service.fitting.data import Dataset
from service.fitting.descent.affine_maps import Powers, after, in_turn
from service.fitting.descent.closed_form import ClosedFormEngine
from service.fitting.descent.engine import Arena
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.start import Ended, Values
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.reference.double_double import Pair
from service.fitting.solver import Descent
from tests.fitting.descent.arenas import arena_for
from tests.fitting.descent.problems import random_problem, solve

Exact = NDArray[np.object_]
#: Digits that are carried where fractions would grow without end.
DIGITS = 120


def _nearly_collinear() -> Problem:
    """Along x1 - x2 the gap halves in some 10^9 steps."""
    stream = np.random.default_rng(8)
    x1 = stream.normal(size=7)
    dataset = Dataset.from_arrays(np.column_stack([x1, x1 + 1e-4 * stream.normal(size=7)]), stream.normal(size=7))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


class _ByDefinition:
    """Descent on the rows in exact arithmetic: a step is w - d r w - r gradient, with its momentum as Keras has it."""

    def __init__(self, arena: Arena, sgd: Sgd) -> None:
        self._a, self._y = (_fractions(part) for part in (arena.design, arena.targets[:, 0]))
        self._penalties = _fractions(arena.penalties)
        self._plan, self._sgd = arena.plan, sgd
        self.size = self._a.shape[1]

    def step(self, batch: int, z: Exact, number: Callable[[Fraction], Any] = Fraction) -> tuple[Exact, Any]:
        """z = (w, v) after a step, and the batch's sum of squared residuals before it."""
        rows = slice(batch * self._plan.batch_size, (batch + 1) * self._plan.batch_size)
        a, y, penalties = (_each(number, part) for part in (self._a[rows], self._y[rows], self._penalties))
        rate, mu, decay = (
            number(Fraction(float(str(value or 0.0))))
            for value in (self._sgd.learning_rate, self._sgd.momentum, self._sgd.weight_decay)
        )
        w, v = z[: self.size], z[self.size :]
        residuals = a @ w - y
        gradient = number(Fraction(2, len(y))) * (a.T @ residuals) + number(Fraction(2)) * penalties * w
        v = mu * v - rate * gradient
        moved = mu * v - rate * gradient if self._sgd.nesterov else v
        return np.concatenate([w - decay * rate * w + moved, v]), residuals @ residuals

    def epoch(self) -> tuple[Exact, Exact]:
        """An epoch as an affine map of z: its matrix and shift."""
        columns = []
        for start in [np.zeros(2 * self.size, dtype=int), *np.eye(2 * self.size, dtype=int)]:
            z = _fractions(start)
            for batch in range(self._plan.steps_per_epoch):
                z, _ = self.step(batch, z)
            columns.append(z)
        return np.array([column - columns[0] for column in columns[1:]]).T, columns[0]

    def after_steps(self, start: WorkingArray, steps: int) -> tuple[Exact, Any]:
        """z after so many steps from rest, and the last batch's squares, in `DIGITS` digits."""
        matrix, shift = (_each(_decimal, part) for part in self.epoch())
        z = _each(_decimal, _fractions(np.append(start, np.zeros(self.size))))
        epochs, rest = divmod(steps - 1, self._plan.steps_per_epoch)
        while epochs:
            if epochs % 2:
                z = matrix @ z + shift
            matrix, shift, epochs = matrix @ matrix, matrix @ shift + shift, epochs // 2
        for batch in range(rest + 1):
            z, squares = self.step(batch, z, _decimal)
        return z, squares

    def fixed_point(self) -> Exact:
        """Where whole epochs lead: z = M z + v, by elimination."""
        matrix, shift = self.epoch()
        rows = np.column_stack([_fractions(np.eye(len(shift), dtype=int)) - matrix, shift])
        for j in range(len(shift)):
            pivot = next(i for i in range(j, len(shift)) if rows[i, j])
            rows[[j, pivot]] = rows[[pivot, j]]
            rows[j] = rows[j] / rows[j, j]
            for i in range(len(shift)):
                if i != j:
                    rows[i] = rows[i] - rows[i, j] * rows[j]
        last: Exact = rows[:, -1]
        return last


def _each(function: Callable[[Fraction], Any], values: Exact) -> Exact:
    return np.array([function(value) for value in values.ravel()], dtype=object).reshape(values.shape)


def _fractions(values: NDArray[np.generic]) -> Exact:
    return np.array([Fraction(value.item()) for value in values.ravel()], dtype=object).reshape(values.shape)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _floats(values: Exact) -> FloatArray:
    return values.astype(np.float64)


RULES = {
    "plain": Sgd(0.1),
    "momentum": Sgd(0.02, 0.9),
    "nesterov": Sgd(0.02, 0.9, nesterov=True),
    "decay": Sgd(0.1, weight_decay=1e-9),
}


@pytest.mark.parametrize("steps", [1, 7, 10**3 + 1, 10**9, 10**9 + 2, 10**12])
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("rule", RULES)
def test_any_step_is_that_of_exact_arithmetic(rule: str, batch_size: int | None, steps: int) -> None:
    sgd = RULES[rule]
    descent = Descent(
        optimizer=sgd, batch_size=batch_size, epochs=10**13, max_steps=steps, start=Values(((0.3,), (-0.2,)), (0.1,))
    )
    arena, state = arena_for(_nearly_collinear(), descent)
    block = ClosedFormEngine(arena).advance(state, steps, None, np.array([steps]))
    with localcontext(prec=DIGITS):
        z, squares = _ByDefinition(arena, sgd).after_steps(state.parameters[:, 0], steps)
    expected = _floats(z)
    assert block.finite
    np.testing.assert_allclose(
        block.state.parameters[:, 0], expected[:3], rtol=0, atol=1e-13 * np.abs(expected[:3]).max()
    )
    np.testing.assert_allclose(block.rows.parameters[0], block.state.parameters, rtol=0, atol=0)
    assert block.rows.batch_squares[0, 0, 0] == pytest.approx(float(squares), rel=1e-12)


def test_the_half_way_of_what_takes_a_billion_steps_is_met() -> None:
    """The table above would say little if all were long at rest by then."""
    arena, state = arena_for(_nearly_collinear(), Descent(optimizer=RULES["plain"], epochs=10**13))
    steps = np.array([10**8, 10**10, 10**13])
    block = ClosedFormEngine(arena).advance(state, 10**13, None, steps)
    gap = np.abs(block.rows.parameters - arena.optimum).max(axis=(1, 2)) / np.abs(arena.optimum).max()
    assert gap[0] > 0.9
    assert 0.9 > gap[1] > 0.01
    assert gap[2] < 1e-15


def test_a_fixed_order_ends_beside_the_reference_by_the_exact_bias() -> None:
    sgd, problem = Sgd(0.05), random_problem(3, rows=8, features=1)
    arena, state = arena_for(problem, Descent(optimizer=sgd, batch_size=3, epochs=10**12))
    block = ClosedFormEngine(arena).advance(state, 3 * 10**12, None, np.empty(0, np.int64))
    expected = _floats(_ByDefinition(arena, sgd).fixed_point()[:2])
    np.testing.assert_allclose(block.state.parameters[:, 0], expected, rtol=1e-14)
    assert np.abs(expected - arena.optimum[:, 0]).max() > 1e-3


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("rule", RULES)
def test_two_descents_are_one(rule: str, batch_size: int | None) -> None:
    """To the bit, wherever the first one stops."""
    problem = random_problem(2, targets=2)
    descent = Descent(optimizer=replace(RULES[rule], learning_rate=0.01), batch_size=batch_size, epochs=100)
    whole = solve(problem, descent, Recording("step"))
    per_epoch = 1 if batch_size is None else 4
    for first in (1, 50 * per_epoch, 50 * per_epoch + 3):
        begun = solve(problem, replace(descent, max_steps=first), Recording("step"))
        rest = replace(descent, start=Ended("begun"), max_steps=100 * per_epoch - first)
        went_on = solve(problem, rest, Recording("step"), begun.standing)
        assert {part.report.engine for part in (whole, begun, went_on)} == {"numpy_closed_form"}
        parts = [part.trajectory for part in (whole, begun, went_on)]
        assert all(part is not None for part in parts)
        for name in ("coefficients", "batch_loss", "epoch_loss", "loss"):
            one, two, three = (getattr(part.original, name) for part in parts if part is not None)
            np.testing.assert_array_equal(one[1 : first + 1], two[1:])
            np.testing.assert_array_equal(one[first + 1 :], three[1:])


@pytest.mark.parametrize(("rate", "where"), [(1e-4, "last"), (0.7, "first"), (0.633, "between")])
def test_the_least_of_many_steps_is_found_without_seeing_them(rate: float, where: str) -> None:
    problem = random_problem(4, rows=30, features=2)
    arena, state = arena_for(problem, Descent(optimizer=Sgd(rate), epochs=10**6))
    engine = ClosedFormEngine(arena)
    seen: list[int] = []

    def loss(parameters: WorkingArray) -> FloatArray:
        seen.append(len(parameters))
        residuals = arena.design @ (parameters.astype(np.float64) - arena.optimum)
        squares: FloatArray = np.square(residuals).sum(axis=(1, 2))
        return squares

    steps = range(3, 5000, 7)
    found = engine.least(state, steps, loss)
    assert sum(seen) < len(steps) / 3
    block = engine.advance(state, 5000, None, np.array(steps))
    losses = loss(block.rows.parameters)
    assert found == steps[int(np.argmin(losses))]
    assert {"first": found == steps[0], "last": found == steps[-1]}.get(where, steps[2] < found < steps[-3])


def test_maps_in_turn_are_applied_in_turn() -> None:
    stream = np.random.default_rng(1)
    maps = stream.normal(size=(5, 3, 5))
    z = stream.normal(size=(3, 2))
    one = in_turn(Pair.of(maps)).rounded
    expected = z
    for map_ in maps:
        expected = map_[:, :3] @ expected + map_[:, 3:]
    np.testing.assert_allclose(one[:, :3] @ z + one[:, 3:], expected, rtol=1e-12)


def test_powers_keep_what_float64_would_lose() -> None:
    """(1 - 2^-60)^(2^60) = 1 / e, though 1 - 2^-60 is 1 in float64."""
    slow = Pair(np.array([[1.0, 0.0]]), np.array([[-(2.0**-60), 0.0]]))
    assert Powers(slow)[60][0, 0] == pytest.approx(np.exp(-1.0), rel=1e-13)
    assert after(slow, slow).rounded[0, 0] == 1.0
