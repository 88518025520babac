"""Keras itself is the oracle: the same start, the same batches in the same order, step by step."""

from typing import Any

import keras
import numpy as np
import pytest

from service.fitting.descent.optimizers import Sgd
from service.fitting.loss import Loss
from service.fitting.penalty import L2
from service.fitting.solver import Backend, Descent, Precision
from tests.fitting.descent.keras_paths import keras_twin
from tests.fitting.descent.keras_table import NUMPY, OPTIMIZERS, PLANS, SHAPES, TENSORFLOW, Case
from tests.fitting.descent.problems import random_problem, solve

#: Keras compiles for each of them: minutes in all.
pytestmark = pytest.mark.long


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("place", range(len(OPTIMIZERS)), ids=lambda place: f"{place}-{OPTIMIZERS[place].kind}")
def test_every_step_is_keras_step(place: int, precision: Precision) -> None:
    """Every optimizer in both precisions, by every plan in NumPy and one in TensorFlow, where compiling takes long.

    Problems and TensorFlow's plans take turns, so that in a row of 16 optimizers each plan meets each kind of problem,
    and others in the other precision. `every_case_against_keras` leaves nothing out.
    """
    turn = place if precision == "float64" else place + 6
    case = Case(OPTIMIZERS[place], SHAPES[turn // 4 % 4], precision)
    keras_path, plans = case.keras(), list(PLANS)
    for plan in plans:
        engines = {**NUMPY, **TENSORFLOW} if plan == plans[turn % 4] else NUMPY
        case.check(plan, engines, keras_path(plan))


class _SumOfSquares(keras.losses.Loss):  # type: ignore[misc]
    """Keras's own loss classes take the mean over targets before they sum over rows."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalty", [None, L2(0.3)])
@pytest.mark.parametrize("loss", ["mse", "sum_squares"])
def test_an_epochs_progress_is_what_keras_prints(loss: Loss, penalty: L2 | None, weighted: bool) -> None:
    """`loss` and RMSE as `Model.fit` accumulates them, for whole epochs with a short last batch."""
    problem = random_problem(seed=6, targets=2, loss=loss, weighted=weighted)
    backends: tuple[Backend, ...] = ("numpy", "tensorflow")
    strength = 0.0 if penalty is None else penalty.strength
    layer = keras.layers.Dense(2, kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(strength))
    model = keras.Sequential([keras.Input((3,)), layer])
    objective = "mse" if loss == "mse" else _SumOfSquares(reduction="sum")
    model.compile(keras.optimizers.SGD(0.01), objective, metrics=[keras.metrics.RootMeanSquaredError()])
    history = model.fit(
        problem.x, problem.y, sample_weight=problem.weights, epochs=4, batch_size=5, shuffle=False, verbose=0
    ).history
    for backend in backends:
        descent = Descent(
            backend=backend, dtype="float32", optimizer=Sgd(0.01), epochs=4, batch_size=5, penalty=penalty
        )
        record = solve(problem, descent).trajectory
        assert record is not None
        np.testing.assert_allclose(record.original.epoch_loss[1:], history["loss"], rtol=1e-5)
        if not weighted:
            # Keras's metrics pay no heed to the weights, ours weigh the squares as the loss does.
            np.testing.assert_allclose(record.original.epoch_rmse[1:], history["root_mean_squared_error"], rtol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "tensorflow"])
@pytest.mark.parametrize("overwrite", [None, 7])
def test_a_fit_with_a_running_mean_ends_with_it(overwrite: int | None, backend: Backend) -> None:
    """As `Model.fit` does, of which the mean is the answer; by the way it shows the parameters themselves."""
    problem = random_problem(seed=6, targets=2)
    optimizer = Sgd(0.05, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=overwrite)
    layer = keras.layers.Dense(2, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras_twin(optimizer, "float32"), "mse")
    model.fit(problem.x, problem.y, epochs=4, batch_size=5, shuffle=False, verbose=0)
    kernel, bias = layer.get_weights()
    descent = Descent(backend=backend, dtype="float32", optimizer=optimizer, epochs=4, batch_size=5)
    coefficients = solve(problem, descent).report.coefficients
    answer = np.array([coefficient.estimate for coefficient in coefficients]).reshape(2, -1).T
    np.testing.assert_allclose(answer, np.vstack([bias, kernel]), rtol=1e-5)
