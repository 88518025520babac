"""Keras itself is the oracle: the same start, the same batches in the same order, step by step."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from service.fitting.arrays import IntArray
from service.fitting.descent.optimizers import Optimizer, Rmsprop, Sgd
from service.fitting.descent.plan import plan_batches
from service.fitting.descent.start import GlorotUniform, draw
from service.fitting.loss import Loss
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.solver import Backend, Descent, Precision
from tests.fitting.descent.problems import random_problem, solve

STEPS = 200
#: Keras on TensorFlow casts a momentum of 0.9 to float64 by way of float32, and so runs with this one. Ours stays 0.9.
MOMENTUM = float(np.float32(0.9))
OPTIMIZERS: tuple[tuple[Optimizer, Any], ...] = (
    (Sgd(0.05), lambda: keras.optimizers.SGD(0.05)),
    (Sgd(0.02, MOMENTUM), lambda: keras.optimizers.SGD(0.02, momentum=0.9)),
    (Sgd(0.02, MOMENTUM, True), lambda: keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True)),
    (Rmsprop(), lambda: keras.optimizers.RMSprop()),
    (Rmsprop(0.01, 0.8, 0.5, 1e-3, True), lambda: keras.optimizers.RMSprop(0.01, 0.8, 0.5, 1e-3, centered=True)),
)
PLANS = {
    "full": {"epochs": STEPS},
    "cyclic": {"epochs": STEPS, "max_steps": STEPS, "batch_size": 5, "drop_last": True},
    "short last batch": {"epochs": STEPS, "max_steps": STEPS, "batch_size": 5},
    "shuffled": {"epochs": STEPS, "max_steps": STEPS, "batch_size": 5, "shuffle": True, "seed": 3},
}


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[Precision]:
    usual = keras.config.floatx()
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx(usual)


def _batches(descent: Descent, rows: int) -> Iterator[tuple[int, IntArray]]:
    """Step and rows of each batch, worked out here and not by the code under test."""
    size = min(descent.batch_size or rows, rows)
    stream = np.random.Generator(np.random.PCG64(descent.seed))
    step = 0
    while True:
        order = stream.permutation(rows) if descent.shuffle else np.arange(rows)
        for first in range(0, rows, size):
            chosen = order[first : first + size]
            if descent.drop_last and len(chosen) < size:
                continue
            step += 1
            yield step, chosen


def _keras_path(problem: Problem, descent: Descent, make: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Parameters (STEPS, m, q) after each step, and the loss Keras reports for each batch before it."""
    p, q = problem.x.shape[1], problem.y.shape[1]
    start = draw(GlorotUniform(), descent.seed, p, q, intercept=True)
    strength = 0.0 if descent.penalty is None else descent.penalty.strength
    layer = keras.layers.Dense(q, dtype=descent.dtype, kernel_regularizer=keras.regularizers.L2(strength))
    model = keras.Sequential([keras.Input((p,), dtype=descent.dtype), layer])
    layer.set_weights([start[1:], start[0]])
    optimizer, loss_of = make(), keras.losses.MeanSquaredError(dtype=descent.dtype)
    path, losses = [], []
    x, y = problem.x.astype(descent.dtype), problem.y.astype(descent.dtype)
    weights = np.ones(len(x)) if problem.weights is None else problem.weights
    for step, rows in _batches(descent, len(x)):
        with tf.GradientTape() as tape:
            loss = loss_of(y[rows], model(x[rows], training=True), weights[rows].astype(descent.dtype))
            loss += sum(model.losses)
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        kernel, bias = layer.get_weights()
        path.append(np.vstack([bias, kernel]))
        losses.append(float(loss))
        if step == STEPS:
            return np.array(path), np.array(losses)
    raise AssertionError("unreachable")


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("optimizer", range(len(OPTIMIZERS)), ids=lambda i: f"{OPTIMIZERS[i][0]}")
def test_every_step_is_keras_step(optimizer: int, plan: str, targets: int, precision: Precision) -> None:
    _compare(random_problem(seed=5, targets=targets), *OPTIMIZERS[optimizer], plan, precision)


@pytest.mark.parametrize("plan", PLANS)
def test_every_step_with_weights_and_a_penalty_is_keras_step(plan: str, precision: Precision) -> None:
    # A strength that float32 holds: Keras rounds it, as it does momentum.
    _compare(random_problem(seed=5, targets=3, weighted=True), *OPTIMIZERS[2], plan, precision, L2(0.0625))


def _compare(
    problem: Problem, rule: Optimizer, make: Any, plan: str, precision: Precision, penalty: L2 | None = None
) -> None:
    tolerance = 1e-10 if precision == "float64" else 1e-5
    expected: tuple[NDArray[Any], NDArray[Any]] | None = None
    backends: tuple[Backend, ...] = ("numpy", "tensorflow")
    for backend in backends:
        descent = Descent(
            backend=backend,
            dtype=precision,
            optimizer=rule,
            start=GlorotUniform(),
            penalty=penalty,
            **PLANS[plan],  # type: ignore[arg-type]
        )
        assert plan_batches(descent, 23).total_steps == STEPS
        expected = expected or _keras_path(problem, descent, make)
        record = solve(problem, descent, Recording("step")).trajectory
        assert record is not None
        assert record.original.coefficients is not None
        scale = np.abs(expected[0]).max()
        np.testing.assert_allclose(record.original.coefficients[1:], expected[0], rtol=0, atol=tolerance * scale)
        np.testing.assert_allclose(record.original.batch_loss[1:], expected[1], rtol=tolerance * 10)


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
