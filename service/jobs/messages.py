"""What a worker and its child say to each other, pickled, over their socket.

The child says `Ready` once; then the worker sends one `Order` at a time, and the child answers it with any number of
`Progress` and `Part` and in the end with one `Solved`, `Refused` or `Broken`. A `Simulation` it answers with a
`Simulated`, or with `Broken`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.fitting.data import Dataset
from service.fitting.diagnosis.simulation import Simulated
from service.fitting.errors import InvalidProblem
from service.fitting.solution import Report
from service.fitting.task import FitTask, Progress
from service.jobs.records import TrajectoryExtent


@dataclass(frozen=True)
class Order:
    """Fit this; `ended` is where the fit that it starts from did, as `Standing.to_bytes` makes it."""

    task: FitTask
    dataset: Dataset
    ended: bytes | None = None


@dataclass(frozen=True)
class Ready:
    """Everything is imported; `pools` are the threads of each library that has any (see `service.fitting.threads`)."""

    pools: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Part:
    """A part of what a descent wrote down, as it is stored.

    Attributes
    ----------
    ordinal
        Its place among the parts, from 0.
    account
        With the first part, what the rows of all are told by: `Account.to_bytes`.
    rows, first_step, last_step
        How many rows there are, and the steps of the first one and the last.
    body
        The rows themselves, as `Account.layout` has them.
    """

    ordinal: int
    account: bytes | None
    rows: int
    first_step: int
    last_step: int
    body: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Solved:
    """The answer.

    Attributes
    ----------
    trajectory
        How long it is; None where no steps were taken.
    last_part
        The part of it that was not sent before, if any.
    progress
        The last there was to tell.
    end_state
        Where the descent ended, as `Standing.to_bytes` makes it.
    """

    report: Report
    trajectory: TrajectoryExtent | None = None
    last_part: Part | None = None
    progress: Progress | None = None
    end_state: bytes | None = None


@dataclass(frozen=True)
class Refused:
    """The problem cannot be fitted as asked."""

    reason: InvalidProblem


@dataclass(frozen=True)
class Broken:
    """The fit raised what it should not; for the log only."""

    traceback: str


Answer = Solved | Refused | Broken
Message = Ready | Progress | Part | Answer | Simulated
