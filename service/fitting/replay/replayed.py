"""A finished fit, as much of it as a program needs to do it again."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from service.fitting.data import Dataset
from service.fitting.descent.standing import Standing
from service.fitting.problem import Problem
from service.fitting.solution import Report
from service.fitting.task import FitTask

Target = Literal["numpy", "keras"]


@dataclass(frozen=True, eq=False)
class Replayed:
    """A finished fit.

    Attributes
    ----------
    fit
        Its id.
    report
        What it came to.
    ended
        Where the fit that it goes on from ended; None where it goes on from none.
    """

    fit: str
    task: FitTask
    dataset: Dataset
    report: Report
    ended: Standing | None = None

    @property
    def steps(self) -> int:
        """Steps it took, however it ended."""
        return self.report.outcome.steps

    @cached_property
    def problem(self) -> Problem:
        """The dataset read with the fit's model."""
        return self.task.problem(self.dataset)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the dataset that the fit reads."""
        model = self.task.model
        return (*model.features, *model.targets, *([] if model.weights is None else [model.weights]))
