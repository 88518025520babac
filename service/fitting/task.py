"""Everything a fit needs beside its data, as one value that can be stored and sent to another process."""

from collections.abc import Callable
from dataclasses import dataclass, field

from service.fitting.data import Dataset
from service.fitting.inference.options import Inference
from service.fitting.loss import Loss
from service.fitting.model import Model
from service.fitting.others.answer import OtherName
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Solver


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

    def problem(self, dataset: Dataset) -> Problem:
        """The dataset read with this task's model."""
        return Problem(dataset, self.model, self.scaling, self.loss)


@dataclass(frozen=True)
class Progress:
    """How far a fit has got. `loss` is on all rows, in the user's units, None before the first step is done."""

    steps_done: int
    steps_total: int
    epochs_done: int
    loss: float | None


#: Called between blocks of steps; returns False to stop the fit.
Observer = Callable[[Progress], bool]
