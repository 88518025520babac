"""Everything a fit needs beside its data, as one value that can be stored and sent to another process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from service.fitting.data import Dataset
from service.fitting.diagnosis.end import Explanation
from service.fitting.inference.options import Inference
from service.fitting.loss import Loss
from service.fitting.model import Model
from service.fitting.others.answer import OtherName
from service.fitting.problem import Problem
from service.fitting.questions import Questions
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Solver
from service.fitting.trajectory import Trajectory


@dataclass(frozen=True)
class FitTask:
    """What to fit and how."""

    model: Model
    solver: Solver
    scaling: Scaling = field(default_factory=Scaling)
    loss: Loss = "mse"
    recording: Recording = field(default_factory=Recording)
    inference: Inference = field(default_factory=Inference)
    others: tuple[OtherName, ...] = ()
    explain: tuple[Explanation, ...] = ()

    def problem(self, dataset: Dataset) -> Problem:
        """The dataset read with this task's model."""
        return Problem(dataset, self.model, self.scaling, self.loss)

    @property
    def questions(self) -> Questions:
        """What is asked about the answer."""
        return Questions(self.inference, self.others, self.explain)


@dataclass(frozen=True)
class Progress:
    """How far a fit has got.

    `loss` is on all rows, in the user's units, and `excess` what it is above the reference's, computed without
    cancellation; None before the first step is done.
    """

    steps_done: int
    steps_total: int
    epochs_done: int
    loss: float | None
    excess: float | None = None


class Observer(Protocol):
    """Whoever is told of a descent while it runs. It goes on when they return."""

    def glimpsed(self, rows: Callable[[], Trajectory]) -> None:
        """Called between blocks of steps, just before `progress`.

        `rows` gives those that were written down since it was last called: a few of them, spread over the steps.
        """

    def progress(self, progress: Progress) -> bool:
        """Called between blocks of steps; returns False to stop the fit."""

    def recorded(self, part: Trajectory) -> None:
        """Called with the rows that are written down, part by part, a few MiB each.

        In ascending order of step; but the row of least loss of a thinned recording may come last, by itself.
        """


class Collector:
    """An observer that lets the fit run, and keeps what it wrote down."""

    def __init__(self) -> None:
        self._parts: list[Trajectory] = []

    def glimpsed(self, rows: Callable[[], Trajectory]) -> None:
        """See `Observer`."""

    def progress(self, progress: Progress) -> bool:  # noqa: ARG002
        """See `Observer`."""
        return True

    def recorded(self, part: Trajectory) -> None:
        """See `Observer`."""
        self._parts.append(part)

    @property
    def trajectory(self) -> Trajectory | None:
        """All of it; None where no steps were taken."""
        return Trajectory.joined(self._parts) if self._parts else None
