"""What a worker and its child say to each other, pickled, over their socket.

The child says `Ready` once; then the worker sends one `Order` at a time, and the child answers it with any number of
`FitProgress`, `Glimpse` and `Part` and in the end with one `Solved`, `Refused` or `Broken`. On the way the worker may
send a `Halt`. A `Simulation` the child answers with a `Simulated`, or with `Broken`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.fitting.data import Dataset
from service.fitting.diagnosis.simulation import Simulated
from service.fitting.errors import InvalidProblem
from service.fitting.solution import Report
from service.fitting.task import FitTask
from service.jobs.records import FitProgress, TrajectoryExtent


@dataclass(frozen=True)
class Order:
    """Fit this.

    Attributes
    ----------
    ended
        Where the fit ended that it starts from, as `Standing.to_bytes` makes it.
    number
        By which a `Halt` names it: of two orders to the same child, the later one has the larger.
    """

    task: FitTask
    dataset: Dataset
    ended: bytes | None = None
    number: int = 0


@dataclass(frozen=True)
class Halt:
    """Take no more steps for the order of this number: answer it as cancelled. One that is over is not concerned."""

    number: int


@dataclass(frozen=True)
class Ready:
    """Everything is imported; `pools` are the threads of each library that has any (see `service.fitting.threads`)."""

    pools: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of what a descent wrote down, as they are stored.

    Attributes
    ----------
    ordinal
        Its place among others of its kind, from 0.
    account
        With the first one, what the rows of all are told by: `Account.to_bytes`.
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


class Part(Piece):
    """All rows up to the next part's."""


class Glimpse(Piece):
    """A few rows to be shown before there is a part: see `Observer.glimpsed`."""


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
    progress: FitProgress | None = None
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
#: What is told of a fit while it runs, for those who watch it.
News = FitProgress | Glimpse
Message = Ready | News | Part | Answer | Simulated
