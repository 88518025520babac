"""One line of a benchmark, and how a time is taken."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A ratio against a peer: how many times faster (or smaller) we are.

    `goal` is the design's, for the finished service; a ratio below it is said, not hidden.
    """

    name: str
    ratio: float
    goal: float
    peer: str

    def __str__(self) -> str:
        return f"{self.name} {self.ratio:.4g} {self.goal:g} {self.peer}"


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The least wall-clock time of `repeats` runs, after one that warms caches and compilers."""
    work()
    return min(_timed(work) for _ in range(repeats))


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """The median wall-clock time of `repeats` runs, after one that warms: for requests, whose spread matters."""
    work()
    return statistics.median(_timed(work) for _ in range(repeats))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
