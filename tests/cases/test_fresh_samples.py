"""The single-sample case's remedy: a stream of fresh samples, each fit one of them, from where the last one ended."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from service.datasets.cases import case
from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.start import Ended, Values
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.solver import Descent
from tests.cases.asking import fitted
from tests.fitting.descent.problems import solve

RATE, SAMPLES = 0.001, 10_000


@dataclass(frozen=True)
class Stream:
    """The recipe's numbers: W (3, 3) and b (3,) of the truth and of the start, and samples (10000, 3)."""

    truth: tuple[FloatArray, FloatArray]
    start: tuple[FloatArray, FloatArray]
    samples: FloatArray

    def seen(self, x: FloatArray) -> FloatArray:
        """Targets (n, 3) of samples (n, 3)."""
        weights, intercept = self.truth
        return x @ weights.T + intercept


@pytest.fixture(scope="module")
def stream() -> Stream:
    draw = np.random.RandomState(0).random_sample
    truth = (draw((3, 3)), draw((3, 1))[:, 0])
    draw((3, 1))
    return Stream(truth, (draw((3, 3)), draw((3, 1))[:, 0]), draw((SAMPLES, 3)))


def _by_hand(stream: Stream, count: int) -> tuple[FloatArray, FloatArray]:
    """W and b after so many samples, one plain step each."""
    weights, intercept = stream.start
    for x, y in zip(stream.samples[:count], stream.seen(stream.samples[:count]), strict=True):
        residual = weights @ x + intercept - y
        weights, intercept = weights - 2 * RATE * np.outer(residual, x), intercept - 2 * RATE * residual
    return weights, intercept


def _expected() -> tuple[FloatArray, FloatArray]:
    found = case("single-sample")
    assert found is not None
    after = found.computed["after_10000_fresh_samples"]
    return np.array(after["W"]), np.array(after["b"])


def test_the_recipe_is_the_published_one(stream: Stream) -> None:
    for ours, theirs in zip(_by_hand(stream, SAMPLES), _expected(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


def test_fifty_samples_over_http(address: str, stream: Stream) -> None:
    weights, intercept = stream.start
    start: dict[str, Any] = {"kind": "values", "coefficients": weights.T.tolist(), "intercept": intercept.tolist()}
    for number in range(50):
        x = stream.samples[number : number + 1]
        body = {
            "data": {"x": x.tolist(), "y": stream.seen(x).tolist()},
            "loss": "sum_squares",
            "solver": {"optimizer": {"kind": "sgd", "learning_rate": RATE}, "epochs": 1, "start": start},
        }
        fit = fitted(address, body)
        start = {"kind": "fit", "fit": fit["id"]}
    assert fit["result"]["outcome"]["iterations"] == 50
    found = np.array([c["estimate"] for c in fit["result"]["coefficients"]]).reshape(3, 4)
    expected_weights, expected_intercept = _by_hand(stream, 50)
    np.testing.assert_allclose(found[:, 1:], expected_weights, rtol=1e-13)
    np.testing.assert_allclose(found[:, 0], expected_intercept, rtol=1e-13)


@pytest.mark.parametrize("batches", [[SAMPLES], [100] * 100])
def test_ten_thousand_samples(stream: Stream, batches: list[int]) -> None:
    """In one fit, or a hundred at a time: the numbers of the case to its last digits."""
    (weights, intercept), ended, first = stream.start, None, 0
    start: Values | Ended = Values(tuple(map(tuple, weights.T.tolist())), tuple(intercept.tolist()))
    for count in batches:
        x = stream.samples[first : first + count]
        dataset = Dataset.from_arrays(x, stream.seen(x))
        problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), loss="sum_squares")
        solved = solve(problem, Descent(optimizer=Sgd(RATE), epochs=1, batch_size=1, start=start), ended=ended)
        start, ended, first = Ended("the samples before"), solved.standing, first + count
    assert solved.report.outcome.iterations == SAMPLES
    found = np.array([c.estimate for c in solved.report.coefficients]).reshape(3, 4)
    for ours, theirs in zip((found[:, 1:], found[:, 0]), _expected(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)
