from dataclasses import replace

import numpy as np
import pytest

from service.fitting.descent.plan import MOST_ORDER_ENTRIES, plan_batches
from service.fitting.solver import Descent


@pytest.mark.parametrize(
    ("descent", "steps_per_epoch", "total"),
    [
        (Descent(epochs=5), 1, 5),
        (Descent(epochs=5, batch_size=3), 4, 20),
        (Descent(epochs=5, batch_size=3, drop_last=True), 3, 15),
        (Descent(epochs=5, batch_size=10), 1, 5),
        (Descent(epochs=5, batch_size=1000, drop_last=True), 1, 5),
        (Descent(epochs=5, batch_size=3, max_steps=7), 4, 7),
        (Descent(epochs=5, batch_size=3, max_steps=70), 4, 20),
    ],
)
def test_steps_are_counted_as_keras_counts_them(descent: Descent, steps_per_epoch: int, total: int) -> None:
    plan = plan_batches(descent, rows=10)
    assert (plan.steps_per_epoch, plan.total_steps) == (steps_per_epoch, total)


def test_epochs_batches_and_rows_of_steps() -> None:
    plan = plan_batches(Descent(epochs=2, batch_size=4), rows=10)
    steps = np.arange(7)
    batch = plan.batch_of(steps)
    assert plan.epoch_of(steps).tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert batch.tolist() == [0, 1, 2, 3, 1, 2, 3]
    assert plan.rows_of(batch).tolist() == [0, 4, 4, 2, 4, 4, 2]
    assert plan.rows_so_far(batch).tolist() == [0, 4, 8, 10, 4, 8, 10]


@pytest.mark.parametrize("begun", [0, 3, 7, 8])
def test_a_plan_that_was_begun_goes_on(begun: int) -> None:
    """Batches, their rows and the ends of epochs are those of the whole plan; epochs are counted from this descent."""
    whole = plan_batches(Descent(epochs=10, batch_size=4), rows=10)
    rest = replace(whole, begun=begun)
    steps = np.arange(1, 15)
    batch = rest.batch_of(steps)
    np.testing.assert_array_equal(batch, whole.batch_of(begun + steps))
    np.testing.assert_array_equal(rest.rows_of(batch), whole.rows_of(whole.batch_of(begun + steps)))
    np.testing.assert_array_equal(rest.rows_so_far(batch), whole.rows_so_far(whole.batch_of(begun + steps)))
    np.testing.assert_array_equal(rest.epoch_of(steps), whole.epoch_of(begun + steps) - begun // 3)
    assert [rest.ends_epoch(s) for s in range(14)] == [whole.ends_epoch(begun + s) for s in range(14)]
    assert [rest.epochs_ended(s) for s in range(14)] == [(begun + s) // 3 - begun // 3 for s in range(14)]
    start = np.array([0])
    assert (rest.epoch_of(start).tolist(), rest.batch_of(start).tolist()) == ([0], [0])


@pytest.mark.parametrize(("rows", "batch_size"), [(1_000_000, 100_000), (10_000_000, 100), (50, 5)])
def test_row_orders_of_one_block_stay_small(rows: int, batch_size: int) -> None:
    plan = plan_batches(Descent(shuffle=True, batch_size=batch_size, epochs=10**6), rows)
    epochs = plan.most_ordered_steps / plan.steps_per_epoch
    assert epochs == int(epochs)
    assert epochs == 1 or epochs * rows <= MOST_ORDER_ENTRIES
    in_order = plan_batches(Descent(batch_size=batch_size), rows)
    assert in_order.most_ordered_steps == in_order.total_steps


def test_one_batch_of_all_rows_needs_no_order() -> None:
    assert not plan_batches(Descent(shuffle=True), rows=10).reshuffles
    assert plan_batches(Descent(shuffle=True, batch_size=9), rows=10).reshuffles
