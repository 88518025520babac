"""What a worker and its child say to each other, pickled, over their socket.

The child says `Ready` once; then the worker sends one `Order` at a time, and the child answers it with any number of
`Progress` and in the end with one `Solved`, `Refused` or `Broken`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.solution import Report
from service.fitting.task import FitTask, Progress


@dataclass(frozen=True)
class Order:
    """Fit this."""

    task: FitTask
    dataset: Dataset


@dataclass(frozen=True)
class Ready:
    """Everything is imported; `pools` are the threads of each library that has any (see `service.fitting.threads`)."""

    pools: Mapping[str, int]


@dataclass(frozen=True)
class PackedTrajectory:
    """A trajectory as `Trajectory.to_bytes` makes it: packed by the child, so that the worker's loop need not."""

    recorded: int
    total_steps: int
    body: bytes


@dataclass(frozen=True)
class Solved:
    """The answer, and the last progress there was to tell."""

    report: Report
    trajectory: PackedTrajectory | None
    progress: Progress | None


@dataclass(frozen=True)
class Refused:
    """The problem cannot be fitted as asked."""

    reason: InvalidProblem


@dataclass(frozen=True)
class Broken:
    """The fit raised what it should not; for the log only."""

    traceback: str


Answer = Solved | Refused | Broken
Message = Ready | Progress | Answer
