"""A descent that is really run, with what is said of its end; nothing of a remedy is run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.datasets.cases import case
from service.fitting.descent.backends import engine_for
from service.fitting.descent.run import run
from service.fitting.descent.setting import Setting
from service.fitting.descent.standing import Standing
from service.fitting.diagnosis.answer import Cause, Diagnosis, Gap
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.diagnose import diagnose
from service.fitting.diagnosis.end import End, Explanation, Means, Printed
from service.fitting.diagnosis.outlook import outlook
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.exact import references
from service.fitting.loss import Loss
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from service.fitting.task import Collector

ENDS = Recording(limit=2)


def _measured_by_nobody(_: Setting) -> Gap:
    raise TooLong


@dataclass(frozen=True, eq=False)
class Ran:
    """A finished descent."""

    setting: Setting
    end: End
    standing: Standing

    @property
    def gap(self) -> float:
        return float(np.linalg.norm(self.end.estimate - self.setting.optimum.parameters))


@dataclass(frozen=True, eq=False)
class Diagnosed(Ran):
    """The same with its diagnosis."""

    diagnosis: Diagnosis

    @property
    def causes(self) -> dict[str, Cause]:
        """By their codes, in their order."""
        return {found.code: found for found in self.diagnosis.causes}


@np.errstate(all="ignore")
def ran(problem: Problem, solver: Descent, ended: Standing | None = None) -> Ran:
    """Really run it."""
    setting = Setting.of(problem, solver, references(problem, solver.penalty), ended)
    came = run(setting, ENDS, Collector(), engine_for)
    finding, printed = came.finding, came.last.original
    end = End(
        kind=finding.outcome.kind,
        steps=finding.outcome.steps,
        scaled=finding.scaled_estimate,
        estimate=finding.estimate,
        loss=finding.loss.final,
        printed=Printed(float(printed.epoch_loss[0]), float(printed.batch_loss[0])),
        outlook=outlook(setting, simulate),
        state=came.state,
    )
    return Ran(setting, end, came.standing)


def diagnosed(
    problem: Problem, solver: Descent, explain: Sequence[Explanation] = (), ended: Standing | None = None
) -> Diagnosed:
    """Run it, and say why it ends where it does."""
    found = ran(problem, solver, ended)
    means = Means(simulate, _measured_by_nobody)
    diagnosis = diagnose(found.setting, found.end, ENDS, means, explain)
    return Diagnosed(found.setting, found.end, found.standing, diagnosis)


def of_case(name: str, scaling: Scaling | None = None, loss: Loss = "mse") -> Problem:
    """The problem of a built-in case."""
    found = case(name)
    assert found is not None
    dataset = found.dataset()
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), scaling or Scaling(), loss)
