"""Forecasts, made where HTTP is served: what is worked out of data is kept, so that the next forecast is quick.

Not for several threads at once.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from service.datasets.store import DatasetStore
from service.fitting.data import Dataset
from service.fitting.descent.backends import closed_form
from service.fitting.descent.engine import Arena, Engine
from service.fitting.descent.setting import Setting
from service.fitting.descent.standing import Standing
from service.fitting.diagnosis.answer import Forecast, Gap
from service.fitting.diagnosis.end import Means
from service.fitting.diagnosis.forecast import forecast
from service.fitting.diagnosis.simulation import Simulate, TooLong
from service.fitting.diagnosis.verification import measured
from service.fitting.exact import references
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Backend, Descent
from service.fitting.task import FitTask
from service.jobs.held_bytes import held_bytes

#: Of arrays, that what is known may hold between forecasts.
MOST_BYTES = 64 << 20

#: What a remedy may be expected to take to be verified.
MOST_SECONDS_MEASURING = 5e-3

_UNSCALED = Scaling()


@dataclass(frozen=True, eq=False)
class _Known:
    """What has been worked out of one dataset, by what it hangs on."""

    dataset: Dataset
    problems: dict[Hashable, Problem] = field(default_factory=dict)
    settings: dict[Hashable, Setting] = field(default_factory=dict)


class Forecaster:
    """Makes forecasts.

    Parameters
    ----------
    datasets
        Where those are that are not known.
    simulate
        Takes the steps of what has no closed form.
    most_bytes
        What is known is forgotten beyond them, the longest unused dataset first.
    """

    def __init__(self, datasets: DatasetStore, simulate: Simulate, most_bytes: int = MOST_BYTES) -> None:
        self._datasets = datasets
        self._means = Means(simulate, _measured)
        self._most_bytes = most_bytes
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def get(self, dataset_id: str) -> Dataset | None:
        """See `DatasetStore.get`: one that is known is not read again, only asked for."""
        known = self._known.get(dataset_id)
        if known is None:
            return await self._datasets.get(dataset_id)
        return known.dataset if await self._datasets.has(dataset_id) else None

    def problem(self, task: FitTask, dataset: Dataset) -> Problem:
        """The task's problem, with all that has been worked out of its rows."""
        known, key = self._of(dataset), (task.model, task.scaling, task.loss)
        if key not in known.problems:
            known.problems[key] = task.problem(known.dataset)
        return known.problems[key]

    # What leaves float64 is data here too: it is sent as null.
    @np.errstate(all="ignore")
    def forecast(self, task: FitTask, dataset: Dataset, ended: Standing | None) -> Forecast:
        """What the task's descent would do; for tasks that are none, there is no forecast.

        Parameters
        ----------
        ended
            Where the fit ended that the solver's start names, if it names one.

        Raises
        ------
        TooLong
            A simulation cannot be had, or not in time.
        """
        solver = task.solver
        assert isinstance(solver, Descent)
        try:
            setting = self._setting(task, dataset, solver).with_solver(solver, ended)
            return forecast(setting, task.recording, self._means, task.explain)
        finally:
            self._forget()

    def _setting(self, task: FitTask, dataset: Dataset, solver: Descent) -> Setting:
        """Of the task's problem; but for its penalty, the solver is not the one that was asked for."""
        # A penalty is in descent's units: with one, each scaling is a problem of its own.
        scaling = _UNSCALED if solver.penalty is None else task.scaling
        known, key = self._of(dataset), (task.model, task.loss, scaling, solver.penalty)
        if key not in known.settings:
            problem = Problem(known.dataset, task.model, scaling, task.loss)
            plain = Descent(penalty=solver.penalty)
            known.settings[key] = Setting.of(problem, plain, references(problem, solver.penalty))
        setting = known.settings[key].with_scaling(task.scaling)
        assert setting is not None
        return setting

    def _of(self, dataset: Dataset) -> _Known:
        known = self._known.setdefault(dataset.digest, _Known(dataset))
        self._known.move_to_end(dataset.digest)
        return known

    def _forget(self) -> None:
        while self._known and held_bytes(self._known) > self._most_bytes:
            self._known.popitem(last=False)


def _measured(setting: Setting) -> Gap:
    """What the descent comes to, where it can be had without Numba; raises TooLong."""
    return measured(setting, _by_closed_form, MOST_SECONDS_MEASURING)


def _by_closed_form(backend: Backend, arena: Arena) -> tuple[Engine, int]:
    engine = closed_form(arena) if backend == "numpy" else None
    if engine is None:
        raise TooLong
    return engine
