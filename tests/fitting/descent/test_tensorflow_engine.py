"""That the TensorFlow engine compiles once for a shape, and that elementary functions are the same in every engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from service.fitting.descent import elementary
from service.fitting.descent.optimizers import Adam, Optimizer, Sgd
from service.fitting.descent.quiet_tensorflow import tf
from service.fitting.descent.schedules import CosineDecay, ExponentialDecay
from service.fitting.descent.tensorflow_engine import TensorflowEngine
from service.fitting.solver import Precision
from tests.fitting.descent.keras_table import SHAPES, STEPS, Case

_EVERYTHING: dict[str, Any] = {"weight_decay": 0.1, "clipnorm": 0.5, "use_ema": True, "ema_overwrite_frequency": 7}
_OTHERWISE: dict[str, Any] = {"weight_decay": 0.2, "clipnorm": 0.7, "use_ema": True, "ema_momentum": 0.9}


def _program(optimizer: Optimizer, plan: str, precision: Precision = "float32") -> Any:
    """The compiled block, once it has run in blocks of two lengths."""
    arena, beginning = Case(optimizer, SHAPES[1], precision).begin(plan)
    engine, state, orders = TensorflowEngine(arena), beginning.state, beginning.row_orders()
    for count in (7, STEPS - 7):
        recorded = np.arange(state.step + 1, state.step + count + 1, 3)
        state = engine.advance(state, count, orders.for_steps(state.step, count), recorded).state
    return engine._run


@pytest.mark.parametrize("plan", ["full", "short last batch", "shuffled"])
@pytest.mark.parametrize(
    ("optimizer", "other"),
    [
        (Sgd(0.01), Sgd(0.02)),
        (Sgd(0.01, 0.9), Sgd(0.02, 0.5)),
        (Adam(0.01, 0.8, 0.95, 1e-3, **_EVERYTHING), Adam(0.02, 0.9, 0.99, 1e-4, **_OTHERWISE)),
        (Sgd(ExponentialDecay(0.1, 30, 0.7)), Sgd(CosineDecay(0.1, 100))),
    ],
    ids=["plain", "momentum", "everything", "schedule"],
)
def test_a_second_fit_of_the_same_shape_compiles_nothing(optimizer: Optimizer, other: Optimizer, plan: str) -> None:
    """Whatever its numbers are, and however long its blocks."""
    program = _program(optimizer, plan)
    traces = program.experimental_get_tracing_count()
    assert _program(other, plan) is program
    assert program.experimental_get_tracing_count() == traces


def test_each_precision_has_a_trace_of_its_own() -> None:
    optimizer = Sgd(0.01, 0.3, nesterov=True)
    program = _program(optimizer, "cyclic", "float32")
    assert program.experimental_get_tracing_count() == 1
    assert _program(optimizer, "cyclic", "float64") is program
    assert program.experimental_get_tracing_count() == 2


def _in_numba(function: Callable[..., Any], *arguments: Any) -> Any:
    compiled = njit(error_model="numpy")(lambda *numbers: function(*numbers))
    return np.array([compiled(*numbers) for numbers in zip(*arguments, strict=True)])


def _in_tensorflow(function: Callable[..., Any], *arguments: Any) -> Any:
    return tf.function(function, jit_compile=True, autograph=False)(*map(tf.constant, arguments)).numpy()


_NUMBERS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5, 1e-300, 1e300])
_PAIRS = tuple(part.ravel() for part in np.meshgrid(_NUMBERS, _NUMBERS))


@pytest.mark.parametrize("run", [_in_numba, _in_tensorflow])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (elementary.sqrt, (np.abs(_NUMBERS),)),
        (elementary.power, (np.abs(_NUMBERS), np.full(len(_NUMBERS), 0.5))),
        (elementary.absolute, (_NUMBERS,)),
        (elementary.sign, (_NUMBERS,)),
        (elementary.maximum, _PAIRS),
        (elementary.minimum, _PAIRS),
    ],
)
def test_elementary_functions_are_the_same_in_every_engine(
    run: Callable[..., Any], function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Also of what is not a number."""
    np.testing.assert_allclose(run(function, *arguments), function(*arguments), rtol=1e-15)
