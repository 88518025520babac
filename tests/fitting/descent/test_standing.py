"""What is kept of a fit for others to go on from, and what they take over."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.descent.going_on import Beginning, begin
from service.fitting.descent.optimizers import Adam, Adamw, Optimizer, Rmsprop, Sgd
from service.fitting.descent.standing import Standing
from service.fitting.descent.start import Ended, Zeros
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Precision
from tests.fitting.descent.problems import random_problem

PROBLEM = random_problem(3, targets=2, scaling=Scaling("standard", "minmax"))
DESCENT = Descent(optimizer=Adam(), batch_size=5, shuffle=True, seed=4, epochs=2, start=Ended("an id"))


def _standing(
    problem: Problem = PROBLEM, descent: Descent = DESCENT, steps: int = 7, *, by_closed_form: bool = True
) -> Standing:
    """Where a descent might stand after so many steps: all of its numbers drawn, none of them computed."""
    begun = begin(problem, replace(descent, start=Zeros()))
    orders = begun.row_orders()
    orders.for_steps(0, steps)
    stream = np.random.default_rng(8)

    def drawn(array: Any) -> Any:
        return stream.normal(size=array.shape).astype(array.dtype)

    state = begun.state
    state = replace(
        state,
        step=steps,
        **{name: drawn(getattr(state, name)) for name in ("parameters", "slots", "average", "epoch_squares")},
    )
    return begun.ended(state, orders, by_closed_form=by_closed_form)


def _same(one: Any, other: Any) -> None:
    """Equal to the bit, types included, whatever it is made of."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif hasattr(one, "__dataclass_fields__"):
        for name in one.__dataclass_fields__:
            _same(getattr(one, name), getattr(other, name))
    else:
        assert one == other


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("by_closed_form", [True, False])
def test_bytes_hold_all_of_it(dtype: Precision, shuffle: bool, by_closed_form: bool) -> None:
    standing = _standing(descent=replace(DESCENT, dtype=dtype, shuffle=shuffle), by_closed_form=by_closed_form)
    assert standing.parameters.dtype == dtype
    _same(Standing.from_bytes(standing.to_bytes()), standing)


def test_bytes_hold_what_has_no_course() -> None:
    numbers = np.array([[1e300, -0.0], [5e-324, 3.0], [1.0, 2.0], [0.1, 0.2]])
    standing = Standing.at(PROBLEM.model.terms, PROBLEM.model.targets, numbers)
    _same(Standing.from_bytes(standing.to_bytes()), standing)


def test_its_size_is_the_models_and_not_the_datas() -> None:
    small, large = (len(_standing(random_problem(3, rows=rows)).to_bytes()) for rows in (23, 2300))
    assert abs(large - small) < 64


def _kept(begun: Beginning, ended: Standing) -> set[str]:
    """What a descent that begins so has of where another ended."""
    course, state = ended.course, begun.state
    assert course is not None
    kept = {
        "parameters": np.array_equal(state.parameters, ended.parameters),
        "memory": np.array_equal(state.slots, course.slots) and np.array_equal(state.average, course.average),
        "iterations": begun.iterations == course.iterations,
        "plan": begun.plan.begun == course.taken and begun.orders == course.orders,
        "epoch": np.array_equal(state.epoch_squares, course.epoch_squares),
        "origin": course.origin is not None and begun.origin.since == course.origin.since,
    }
    return {name for name, value in kept.items() if value}


MEMORY = {"memory", "iterations"}
PLAN = {"plan", "epoch"}
ALL = {"parameters", "origin", *MEMORY, *PLAN}


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, ALL),
        ({"epochs": 100, "max_steps": 37}, ALL),
        ({"optimizer": Adam(0.5, epsilon=1e-3, clipnorm=2.0)}, ALL - {"origin"}),
        ({"penalty": L2(0.1)}, ALL - {"origin"}),
        ({"backend": "tensorflow"}, ALL - {"origin"}),
        ({"optimizer": Adam(amsgrad=True)}, {"parameters", *PLAN}),
        ({"optimizer": Adam(use_ema=True)}, {"parameters", *PLAN}),
        ({"optimizer": Adamw()}, {"parameters", *PLAN}),
        ({"optimizer": Sgd()}, {"parameters", *PLAN}),
        ({"batch_size": 6}, {"parameters", *MEMORY}),
        ({"batch_size": None}, {"parameters", *MEMORY}),
        ({"seed": 5}, {"parameters", *MEMORY}),
        ({"shuffle": False}, {"parameters", *MEMORY}),
        ({"drop_last": True}, {"parameters", *MEMORY}),
        ({"start": Zeros()}, set()),
    ],
)
def test_every_option_keeps_what_it_leaves_valid(changes: dict[str, Any], kept: set[str]) -> None:
    ended = _standing()
    assert _kept(begin(PROBLEM, replace(DESCENT, **changes), ended), ended) == kept


@pytest.mark.parametrize(
    ("one", "other", "keeps"),
    [
        (Sgd(momentum=0.9), Sgd(0.5, momentum=0.5, nesterov=True), True),
        (Sgd(), Sgd(momentum=0.5), False),
        (Sgd(), Sgd(0.5, weight_decay=0.1), True),
        (Rmsprop(), Rmsprop(rho=0.5), True),
        (Rmsprop(), Rmsprop(centered=True), False),
        (Rmsprop(), Rmsprop(momentum=0.5), False),
        (Sgd(use_ema=True), Sgd(use_ema=True, ema_overwrite_frequency=3), True),
    ],
)
def test_memory_goes_on_where_the_same_is_kept(one: Optimizer, other: Optimizer, keeps: bool) -> None:
    ended = _standing(descent=replace(DESCENT, optimizer=one))
    kept = _kept(begin(PROBLEM, replace(DESCENT, optimizer=other), ended), ended)
    assert (kept & MEMORY == MEMORY) is keeps
    assert kept & PLAN == PLAN


def test_another_loss_keeps_memory_and_plan() -> None:
    ended = _standing()
    problem = Problem(PROBLEM.dataset, PROBLEM.model, PROBLEM.scaling, "sum_squares")
    assert _kept(begin(problem, DESCENT, ended), ended) == ALL - {"origin"}


def test_new_data_in_the_same_units_keep_the_memory() -> None:
    ended = _standing(random_problem(3))
    fresh = random_problem(4)
    assert _kept(begin(fresh, DESCENT, ended), ended) == {"parameters", *MEMORY}


def _in_users_units(problem: Problem, begun: Beginning) -> FloatArray:
    return problem.units.to_user(begun.state.parameters.astype(np.float64))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Scaling(), Scaling("standard")),
        (Scaling("standard", "minmax"), Scaling()),
        (Scaling("minmax"), Scaling("minmax")),
    ],
)
def test_other_units_keep_the_coefficients_in_the_users(before: Scaling, after: Scaling) -> None:
    ended = _standing(random_problem(3, scaling=before))
    problem = random_problem(4, scaling=after)
    begun = begin(problem, DESCENT, ended)
    assert _kept(begun, ended) == set()
    user = ended.units.to_user(ended.parameters.astype(np.float64))
    np.testing.assert_allclose(_in_users_units(problem, begun), user, rtol=1e-12)


@pytest.mark.parametrize(("one", "other"), [("float32", "float64"), ("float64", "float32")])
def test_another_precision_casts(one: Precision, other: Precision) -> None:
    ended = _standing(descent=replace(DESCENT, dtype=one))
    begun = begin(PROBLEM, replace(DESCENT, dtype=other), ended)
    assert begun.state.parameters.dtype == begun.state.slots.dtype == begun.state.average.dtype == other
    np.testing.assert_array_equal(begun.state.parameters, ended.parameters.astype(other))
    assert ended.course is not None
    np.testing.assert_array_equal(begun.state.slots, ended.course.slots.astype(other))
    assert begun.plan.begun == 7
    assert begun.origin.since == 0


def test_a_closed_form_counts_from_where_steps_were_taken_otherwise() -> None:
    ended = _standing(by_closed_form=False)
    begun = begin(PROBLEM, DESCENT, ended)
    assert _kept(begun, ended) == ALL - {"origin"}
    assert begun.origin.since == 0
    np.testing.assert_array_equal(begun.origin.parameters, ended.parameters)


def test_coefficients_alone_are_a_warm_start() -> None:
    coefficients = np.arange(8.0).reshape(4, 2)
    begun = begin(PROBLEM, DESCENT, Standing.at(PROBLEM.model.terms, PROBLEM.model.targets, coefficients))
    np.testing.assert_allclose(_in_users_units(PROBLEM, begun), coefficients, rtol=1e-12)
    assert (begun.iterations, begun.plan.begun, begun.orders, begun.origin.since) == (0, 0, None, 0)


def test_rows_that_are_not_shuffled_need_no_seed() -> None:
    """One batch of all rows is the same in any order: neither `shuffle` nor `seed` makes it another plan."""
    descent = replace(DESCENT, batch_size=None)
    ended = _standing(descent=descent)
    assert _kept(begin(PROBLEM, replace(descent, shuffle=False, seed=9), ended), ended) == ALL


def test_a_start_from_nowhere_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="where that fit ended"):
        begin(PROBLEM, DESCENT)
