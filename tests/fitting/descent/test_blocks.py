"""What an engine computes does not depend on where blocks are cut, to the last bit."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.fitting.descent.engine import Arena, Engine
from service.fitting.descent.going_on import Beginning
from service.fitting.descent.numpy_engine import NumpyRowsEngine
from service.fitting.descent.numpy_statistics import NumpyStatisticsEngine
from service.fitting.descent.optimizers import Adam, Ftrl, Nadam, Optimizer, Sgd
from service.fitting.descent.tensorflow_engine import TensorflowEngine
from service.fitting.solver import Precision
from tests.fitting.descent.keras_table import SCHEDULES, SHAPES, STEPS, Case

OPTIMIZERS: tuple[Optimizer, ...] = (
    Sgd(0.05),
    Sgd(SCHEDULES[3], 0.5),
    Adam(0.01, amsgrad=True, clipnorm=0.5, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7),
    Nadam(SCHEDULES[0]),
    Ftrl(0.1, l1_regularization_strength=0.01, weight_decay=0.1),
)
#: The engines that take steps, with plans that suit them.
ENGINES: tuple[tuple[str, Callable[[Arena], Engine], str], ...] = (
    ("numpy rows", NumpyRowsEngine, "short last batch"),
    ("numpy rows", NumpyRowsEngine, "shuffled"),
    ("numpy statistics", NumpyStatisticsEngine, "short last batch"),
    ("tensorflow", TensorflowEngine, "short last batch"),
    ("tensorflow", TensorflowEngine, "shuffled"),
)
CUTS = (0, 1, 2, 7, 64, 65, 130, STEPS)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
@pytest.mark.parametrize(
    ("make", "plan"),
    # XLA compiles each of them anew.
    [pytest.param(*case[1:], marks=pytest.mark.long if case[1] is TensorflowEngine else ()) for case in ENGINES],
    ids=[f"{case[0]}-{case[2]}" for case in ENGINES],
)
def test_blocks_may_be_cut_anywhere(
    make: Callable[[Arena], Engine], plan: str, optimizer: Optimizer, precision: Precision
) -> None:
    arena, beginning = Case(optimizer, SHAPES[3], precision).begin(plan)
    engine = make(arena)
    whole = _run(engine, beginning, (0, STEPS))
    parts = _run(engine, beginning, CUTS)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def _run(engine: Engine, beginning: Beginning, cuts: tuple[int, ...]) -> list[NDArray[Any]]:
    """The state at the end, and all recorded rows, in blocks that end at the cuts."""
    state, orders, rows = beginning.state, beginning.row_orders(), []
    for first, last in pairwise(cuts):
        recorded = np.arange(first + 1, last + 1)
        block = engine.advance(state, last - first, orders.for_steps(first, last - first), recorded)
        assert block.finite
        assert block.state.step == last
        state = block.state
        rows.append(block.rows)
    columns = zip(*((part.step, part.parameters, part.batch_squares, part.epoch_squares) for part in rows), strict=True)
    end = (state.parameters, state.slots, state.average, state.batch_squares, state.epoch_squares)
    return [*end, *(np.concatenate(column) for column in columns)]
