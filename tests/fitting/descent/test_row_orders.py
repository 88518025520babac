"""The shuffles of a plan, and going on with them from wherever another descent ended."""

from dataclasses import replace

import numpy as np
import pytest

from service.fitting.arrays import IntArray
from service.fitting.descent.plan import BatchPlan, plan_batches
from service.fitting.descent.row_orders import RowOrders
from service.fitting.descent.standing import StreamState
from service.fitting.solver import Descent

ROWS, EPOCHS = 11, 40
#: Three steps an epoch.
PLAN = plan_batches(Descent(batch_size=4, shuffle=True, seed=7, epochs=EPOCHS), ROWS)


def _from_the_start() -> IntArray:
    stream = np.random.Generator(np.random.PCG64(7))
    return np.array([stream.permutation(ROWS) for _ in range(EPOCHS)])


def _met(plan: BatchPlan, orders: RowOrders, blocks: list[int], first: int = 0) -> list[IntArray]:
    """The order of the epoch that each step falls in, asked for in blocks."""
    met, step = [], first
    for count in blocks:
        given = orders.for_steps(step, count)
        assert given is not None
        met += [given[plan.epochs_ended(s) - plan.epochs_ended(step)] for s in range(step, step + count)]
        step += count
    return met


@pytest.mark.parametrize("blocks", [[120], [3] * 40, [1] * 120, [2, 7, 4, 50, 57], [119, 1]])
def test_orders_are_numpys_own_stream_however_they_are_asked_for(blocks: list[int]) -> None:
    np.testing.assert_array_equal(_met(PLAN, RowOrders(PLAN), blocks), np.repeat(_from_the_start(), 3, axis=0))


@pytest.mark.parametrize("blocks", [[60], [3] * 20, [1] * 60, [2, 7, 4, 40, 7]])
@pytest.mark.parametrize("back", [0, 1, 2, 3])
def test_they_go_on_from_any_of_the_last_steps(blocks: list[int], back: int) -> None:
    first = RowOrders(PLAN)
    _met(PLAN, first, blocks)
    taken = sum(blocks) - min(back, blocks[-1])
    rest = replace(PLAN, begun=taken)
    second = RowOrders(rest, first.state_at(taken))
    np.testing.assert_array_equal(
        _met(rest, second, [1, 5, 4]), np.repeat(_from_the_start(), 3, axis=0)[taken : taken + 10]
    )


def test_a_state_is_all_there_is_to_a_stream() -> None:
    stream = np.random.Generator(np.random.PCG64(3))
    stream.permutation(5)
    copy = StreamState.of(stream).stream()
    np.testing.assert_array_equal(copy.permutation(1001), stream.permutation(1001))


def test_rows_in_order_need_nothing() -> None:
    plan = plan_batches(Descent(batch_size=4), ROWS)
    orders = RowOrders(plan)
    assert orders.for_steps(0, 5) is None
    assert orders.state_at(5) is None
