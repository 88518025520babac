"""The compiled step does what the rules say in plain NumPy, to the bit, and leaves everything alone where it fails."""

from typing import Any

import numpy as np
import pytest
from numba import njit

from service.fitting.arrays import WorkingArray
from service.fitting.descent import update_rules
from service.fitting.descent.arena import arena_of
from service.fitting.descent.going_on import begin
from service.fitting.descent.numpy_step import Form, form_of, scratch, step
from service.fitting.descent.optimizers import Adam, Ftrl, Optimizer, Rmsprop, Sgd
from service.fitting.descent.rules import Rule
from service.fitting.descent.start import GlorotUniform
from service.fitting.solver import Descent, Precision
from tests.fitting.descent.keras_table import OPTIMIZERS
from tests.fitting.descent.problems import random_problem

M, Q = 4, 2


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _compiled(
    form: Form, numbers: Any, row: int, iteration: int, w: Any, gradient: Any, slots: Any, average: Any, fresh: Any
) -> bool:
    return bool(step(form, numbers, row, iteration, w, gradient, slots, average, fresh))


class _Steps:
    """A state that is moved by the compiled step, gradient by gradient."""

    def __init__(self, optimizer: Optimizer, dtype: Precision) -> None:
        descent = Descent(optimizer=optimizer, dtype=dtype, start=GlorotUniform())
        beginning = begin(random_problem(1, features=M - 1, targets=Q), descent)
        self.state, self.rule = beginning.state, beginning.rule
        self.form = form_of(arena_of(beginning, np.zeros((M, Q))))
        self.done = 0

    def take(self, gradient: WorkingArray) -> bool:
        state, row = self.state, 0 if self.rule.is_constant else self.done
        finite: bool = _compiled(
            self.form, self.rule.numbers(0, 50), row, self.done + 1,
            state.parameters.reshape(-1), gradient.reshape(-1).astype(np.float64),
            state.slots.reshape(len(state.slots), -1), state.average.reshape(-1), scratch(state.parameters),
        )  # fmt: skip
        self.done += finite
        return finite


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place", range(len(OPTIMIZERS)), ids=lambda place: f"{place}-{OPTIMIZERS[place].kind}")
def test_the_compiled_step_is_the_rule(place: int, dtype: Precision) -> None:
    # NumPy's powers are its own; everything else is rounded once, in one way.
    optimizer = OPTIMIZERS[place]
    takes_powers = isinstance(optimizer, Ftrl) and optimizer.learning_rate_power != -0.5
    tolerance = 100 * float(np.finfo(dtype).eps) if takes_powers else 0.0
    steps = _Steps(OPTIMIZERS[place], dtype)
    w, slots, average = (part.copy() for part in (steps.state.parameters, steps.state.slots, steps.state.average))
    stream = np.random.default_rng(place)
    for done in range(50):
        gradient = stream.normal(size=(M, Q)).astype(dtype)
        w, slots, average = _plainly(steps.rule, done, w, gradient, slots, average)
        assert steps.take(gradient)
        for found, expected in zip(
            (steps.state.parameters, steps.state.slots, steps.state.average), (w, slots, average), strict=True
        ):
            assert found.dtype == expected.dtype == dtype
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def _plainly(
    rule: Rule, done: int, w: WorkingArray, gradient: WorkingArray, slots: WorkingArray, average: WorkingArray
) -> tuple[WorkingArray, WorkingArray, WorkingArray]:
    """One step by the functions of `update_rules`, on arrays."""
    number, now = w.dtype.type, rule.numbers(done, 1)[0]
    gradient = _clipped(rule, gradient)
    if rule.weight_decay is not None:
        w = update_rules.decayed(w, now[0], number(rule.weight_decay))
    options = [number(option) for option in rule.options]
    w, *after = rule.update(w, gradient, *slots, now, options, rule.flags)  # type: ignore[call-arg]
    if rule.averaging is not None:
        share = number(rule.averaging.momentum if done else 0.0)
        average = update_rules.averaged(average, w, share, 1 - share)
        every = rule.averaging.overwrite_every
        w = average if every and (done + 1) % every == 0 else w
    return w, np.array(after), average


def _clipped(rule: Rule, gradient: WorkingArray) -> WorkingArray:
    limit = gradient.dtype.type(rule.clipping.limit)
    clipped: WorkingArray = gradient
    match rule.clipping.kind:
        case "value":
            clipped = update_rules.clipped_by_value(gradient, limit)
        case "global_norm":
            clipped = update_rules.clipped_by_global_norm(gradient, _norm(gradient), limit)
        case "norm":
            parts = (gradient[:1], gradient[1:])
            clipped = np.concatenate([update_rules.clipped_by_norm(part, _norm(part), limit) for part in parts])
        case "none":
            pass
    return clipped


def _norm(gradient: WorkingArray) -> Any:
    total = gradient.dtype.type(0.0)
    for value in gradient.ravel():
        total += value * value
    return np.sqrt(total)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer", [Sgd(0.1), Rmsprop(0.1, centered=True), Adam(use_ema=True, weight_decay=0.1, clipvalue=1e3)]
)
def test_a_step_that_leaves_the_numbers_changes_nothing(optimizer: Optimizer, dtype: Precision) -> None:
    steps = _Steps(optimizer, dtype)
    assert steps.take(np.ones((M, Q), dtype))
    before = [part.copy() for part in (steps.state.parameters, steps.state.slots, steps.state.average)]
    gradient = np.ones((M, Q), dtype)
    gradient[2, 1] = np.nan
    assert not steps.take(gradient)
    for found, expected in zip((steps.state.parameters, steps.state.slots, steps.state.average), before, strict=True):
        np.testing.assert_array_equal(found, expected)
