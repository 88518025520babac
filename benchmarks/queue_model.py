"""The queue, simulated: Poisson arrivals, workers that take the oldest fits, service times as they were measured.

Times are in seconds. Where there is theory, it is here too, exact, for the simulation to be held to.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray


@dataclass(frozen=True)
class Service:
    """What a kind of fit costs a worker.

    Attributes
    ----------
    pickup
        From a fit's acceptance to its start, where a worker is idle.
    overhead
        What a worker needs for each turn beside the fits themselves.
    seconds
        The times of single fits, a sample.
    most
        How many fits a worker takes at a turn, if as many wait.
    """

    pickup: float
    overhead: float
    seconds: FloatArray
    most: int = 1

    @property
    def turn(self) -> float:
        """A worker's mean time for one fit alone."""
        return self.overhead + float(self.seconds.mean())


def poisson_arrivals(stream: np.random.Generator, rate: float, count: int) -> FloatArray:
    """The times of `count` arrivals, `rate` a second."""
    return np.cumsum(stream.exponential(1 / rate, count))


def waits(arrivals: FloatArray, seconds: FloatArray, workers: int, overhead: float = 0.0, most: int = 1) -> FloatArray:
    """How long each fit waits for its turn.

    The worker that is free first takes the oldest fit, and up to `most` of those that wait by then; it is free again
    `overhead` and the sum of their `seconds` later.
    """
    came, took = arrivals.tolist(), np.concatenate([[0.0], np.cumsum(seconds)]).tolist()
    turns = np.empty(len(came))
    free = [0.0] * workers
    first = 0
    while first < len(came):
        turn = max(came[first], free[0])
        after = first + 1
        while after < len(came) and after - first < most and came[after] <= turn:
            after += 1
        turns[first:after] = turn
        heapq.heapreplace(free, turn + overhead + took[after] - took[first])
        first = after
    return turns - arrivals


def simulated_waits(stream: np.random.Generator, service: Service, rate: float, workers: int, count: int) -> FloatArray:
    """From acceptance to start, of `count` fits that come at `rate` a second, the first tenth left out."""
    arrivals = poisson_arrivals(stream, rate, count)
    seconds = stream.choice(service.seconds, count)
    found = waits(arrivals, seconds, workers, service.overhead, service.most)
    return found[count // 10 :] + service.pickup


def workers_needed(
    stream: np.random.Generator, service: Service, rate: float, p99: float, most_workers: int, count: int
) -> int | None:
    """The fewest workers with which 99 of 100 fits start within `p99`; None where `most_workers` are too few."""
    # With fewer than this the queue grows for ever.
    fewest = math.floor(rate * (service.overhead / service.most + float(service.seconds.mean()))) + 1
    for workers in range(fewest, most_workers + 1):
        if np.quantile(simulated_waits(stream, service, rate, workers, count), 0.99) <= p99:
            return workers
    return None


def probability_of_waiting(load: float, workers: int) -> float:
    """Erlang's C: that an arrival finds all workers busy, in M/M/c. `load` is in workers (arrival rate x mean time).

    By the recursion of Erlang's B, B_k = aB_{k-1} / (k + aB_{k-1}), which neither over- nor underflows.
    """
    blocked = 1.0
    for k in range(1, workers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def mean_wait_mmc(rate: float, mean: float, workers: int) -> float:
    """The mean wait in M/M/c: C / (c/mean - rate)."""
    return probability_of_waiting(rate * mean, workers) / (workers / mean - rate)


def wait_quantile_mmc(rate: float, mean: float, workers: int, quantile: float) -> float:
    """The quantile of the wait in M/M/c: P(W > t) = C exp(-(c/mean - rate)t)."""
    waiting = probability_of_waiting(rate * mean, workers)
    return max(0.0, math.log(waiting / (1 - quantile)) / (workers / mean - rate))


def mean_wait_mg1(rate: float, seconds: FloatArray) -> float:
    """The mean wait in M/G/1, by Pollaczek and Khinchine: rate E[S^2] / (2 (1 - rate E[S]))."""
    return float(rate * np.mean(seconds**2) / (2 * (1 - rate * np.mean(seconds))))
