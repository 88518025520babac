"""Keras itself as the oracle: where its optimizers go, step by step, from a start and by batches that are given."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.optimizers import Optimizer
from service.fitting.descent.schedules import LearningRate
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.solver import Precision

#: Parameters (steps, m, q) after each step, and the loss Keras gives for each batch before it.
Path = tuple[NDArray[Any], NDArray[Any]]


def keras_twin(optimizer: Optimizer, precision: Precision) -> Any:
    """Keras's optimizer of the same name, with the same options.

    Keras on TensorFlow casts some options, if they are Python's floats, to float64 by way of float32, and runs with
    another number than was asked for. It takes NumPy's as they are.
    """
    options = {
        # Adadelta multiplies by its rho outside of Keras's own functions, where NumPy's number would take over.
        name: value if name == "rho" else _as_keras_takes(value, precision)
        for name, value in _options(optimizer).items()
    }
    return type(keras.optimizers.get(optimizer.kind))(**options)


def _options(of: Any) -> dict[str, Any]:
    return {field.name: getattr(of, field.name) for field in fields(of) if field.name != "kind"}


def _as_keras_takes(value: Any, precision: Precision) -> Any:
    match value:
        case bool() | int() | None:
            return value
        case float():
            return np.float64(value) if precision == "float64" else value
        case tuple():
            return [_as_keras_takes(part, precision) for part in value]
        case _:
            return keras_schedule(value, precision)


def keras_schedule(schedule: LearningRate, precision: Precision) -> Any:
    """Keras's schedule of the same name, which computes in the precision of what it is given."""
    options = {name: _as_keras_takes(value, precision) for name, value in _options(schedule).items()}
    name = "".join(part.title() for part in schedule.kind.split("_"))  # type: ignore[union-attr]
    return getattr(keras.optimizers.schedules, name)(**options)


class KerasModel:
    """A `Dense` layer and an optimizer, whose steps are traced once for any number of paths."""

    def __init__(self, problem: Problem, penalty: L2 | None, optimizer: Optimizer, dtype: Precision) -> None:
        self._rows = tuple(tf.constant(part, dtype) for part in (problem.x, problem.y, _weights(problem)))
        with _floatx(dtype):
            (_, p), q = problem.x.shape, problem.y.shape[1]
            regularizer = None if penalty is None else keras.regularizers.L2(penalty.strength)
            self._layer = keras.layers.Dense(q, dtype=dtype, kernel_regularizer=regularizer)
            self._model = keras.Sequential([keras.Input((p,), dtype=dtype), self._layer])
            self._loss = keras.losses.MeanSquaredError(dtype=dtype)
            self._optimizer = keras_twin(optimizer, dtype)
            self._optimizer.build(self._model.trainable_variables)
            indices, lengths = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
            self._steps = tf.function(self._take, autograph=False).get_concrete_function(indices, lengths)
        self._beginning = [(variable, variable.numpy()) for variable in self._steps.graph.variables]

    def path(self, start: FloatArray, batches: list[IntArray]) -> Path:
        """The steps from `start` (m, q) by these rows."""
        for variable, value in self._beginning:
            variable.assign(value)
        self._layer.set_weights([start[1:], start[0]])
        indices = np.zeros((len(batches), max(map(len, batches))), np.int32)
        for place, rows in enumerate(batches):
            indices[place, : len(rows)] = rows
        kernels, biases, losses = self._steps(tf.constant(indices), tf.constant([len(rows) for rows in batches]))
        return np.concatenate([biases.numpy()[:, None], kernels.numpy()], axis=1), losses.numpy()

    def _take(self, indices: Any, lengths: Any) -> Any:
        count = tf.shape(lengths)[0]
        written = tuple(tf.TensorArray(self._layer.compute_dtype, count) for _ in range(3))

        def step(i: Any, written: Any) -> Any:
            loss = self._step(indices[i, : lengths[i]])
            values = (self._layer.kernel.value, self._layer.bias.value, loss)
            return i + 1, tuple(array.write(i, value) for array, value in zip(written, values, strict=True))

        _, written = tf.while_loop(lambda i, _: i < count, step, (0, written))
        return tuple(array.stack() for array in written)

    def _step(self, chosen: Any) -> Any:
        x, y, weights = (tf.gather(part, chosen) for part in self._rows)
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self._loss(y, self._model(x, training=True), weights) + sum(self._model.losses)
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss


def _weights(problem: Problem) -> FloatArray:
    return np.ones(len(problem.x)) if problem.weights is None else problem.weights


@contextmanager
def _floatx(dtype: Precision) -> Iterator[None]:
    usual = keras.config.floatx()
    keras.config.set_floatx(dtype)
    yield
    keras.config.set_floatx(usual)
