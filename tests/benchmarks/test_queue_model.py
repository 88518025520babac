"""The simulated queue, held to theory where there is some, and to arithmetic where there is none."""

import math

import numpy as np
import pytest

from benchmarks.queue_model import (
    Service,
    mean_wait_mg1,
    mean_wait_mmc,
    poisson_arrivals,
    probability_of_waiting,
    simulated_waits,
    wait_quantile_mmc,
    waits,
    workers_needed,
)
from service.fitting.arrays import FloatArray

COUNT = 400_000
_STREAM = np.random.default_rng(0)
SHAPES = {
    "constant": np.full(1000, 0.2),
    "uniform": _STREAM.uniform(0.0, 0.4, 1000),
    "two_kinds": np.where(_STREAM.random(1000) < 0.9, 0.1, 1.1),
}


def _exponential(seed: int, rate: float, workers: int) -> FloatArray:
    """Waits in M/M/c with a mean service time of 0.2 s, the beginning left out."""
    stream = np.random.default_rng(seed)
    found = waits(poisson_arrivals(stream, rate, COUNT), stream.exponential(0.2, COUNT), workers)
    return found[COUNT // 10 :]


def test_by_hand() -> None:
    arrivals = np.array([0.0, 1.0, 1.5, 9.0])
    assert waits(arrivals, np.array([3.0, 1.0, 2.0, 1.0]), 1).tolist() == [0.0, 2.0, 2.5, 0.0]
    assert waits(arrivals, np.array([3.0, 1.0, 2.0, 1.0]), 2).tolist() == [0.0, 0.0, 0.5, 0.0]
    assert waits(arrivals, np.array([3.0, 1.0, 2.0, 1.0]), 3).tolist() == [0.0, 0.0, 0.0, 0.0]


def test_by_hand_in_groups() -> None:
    arrivals = np.array([0.0, 1.0, 1.5, 2.0, 5.0])
    found = waits(arrivals, np.full(5, 1.0), 1, overhead=1.0, most=2)
    # 0 alone until 2; 1 and 1.5 together from 2 to 5; 2 and 5 together from 5.
    assert found.tolist() == [0.0, 1.0, 0.5, 3.0, 0.0]


@pytest.mark.parametrize(("load", "workers", "expected"), [(0.5, 1, 0.5), (1.0, 2, 1 / 3), (2.0, 3, 4 / 9)])
def test_erlangs_c(load: float, workers: int, expected: float) -> None:
    """C(c, a) = (a^c / c!) / ((1 - a/c) sum_{k<c} a^k/k! + a^c/c!), in whole numbers."""
    assert probability_of_waiting(load, workers) == pytest.approx(expected, rel=1e-12)
    terms = [load**k / math.factorial(k) for k in range(workers)]
    last = load**workers / math.factorial(workers)
    assert probability_of_waiting(load, workers) == pytest.approx(last / ((1 - load / workers) * sum(terms) + last))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_exponential_times_wait_as_erlang_says(workers: int, utilisation: float) -> None:
    rate = utilisation * workers / 0.2
    found = _exponential(workers, rate, workers)
    assert float(found.mean()) == pytest.approx(mean_wait_mmc(rate, 0.2, workers), rel=0.06)
    assert float((found > 0).mean()) == pytest.approx(probability_of_waiting(rate * 0.2, workers), rel=0.03)
    expected = wait_quantile_mmc(rate, 0.2, workers, 0.99)
    assert float(np.quantile(found, 0.99)) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("utilisation", [0.4, 0.7])
def test_any_times_wait_as_pollaczek_and_khinchine_say(shape: str, utilisation: float) -> None:
    stream = np.random.default_rng(1)
    seconds = SHAPES[shape]
    rate = utilisation / float(seconds.mean())
    found = simulated_waits(stream, Service(0.0, 0.0, seconds), rate, 1, COUNT)
    assert float(found.mean()) == pytest.approx(mean_wait_mg1(rate, seconds), rel=0.05)


def test_one_worker_alone_is_the_same_queue_by_both_theories() -> None:
    exponential = -0.2 * np.log1p(-(np.arange(200_000) + 0.5) / 200_000)
    assert mean_wait_mg1(3.0, exponential) == pytest.approx(mean_wait_mmc(3.0, 0.2, 1), rel=1e-3)


def test_the_workers_needed_are_the_fewest() -> None:
    stream = np.random.default_rng(2)
    service = Service(0.01, 0.02, stream.exponential(0.18, 5000))
    needed = workers_needed(stream, service, 20.0, 0.5, 64, 100_000)
    assert needed is not None
    assert wait_quantile_mmc(20.0, 0.2, needed, 0.99) < 0.6
    assert wait_quantile_mmc(20.0, 0.2, needed - 1, 0.99) > 0.4
    assert workers_needed(stream, service, 20.0, 0.5, needed - 1, 100_000) is None


def test_groups_hold_a_load_that_one_at_a_time_would_not() -> None:
    stream = np.random.default_rng(3)
    alone = Service(0.0, 0.008, np.full(100, 0.002))
    grouped = Service(0.0, 0.008, np.full(100, 0.002), most=32)
    assert workers_needed(stream, alone, 200.0, 0.1, 2, 50_000) is None
    assert workers_needed(stream, grouped, 200.0, 0.1, 2, 50_000) == 1
