"""From a problem and a solver to a solution, with whatever kernels and engines there are.

`fit` has those that Numba compiles and all engines; the process that serves HTTP has neither Numba nor TensorFlow, so
nothing here may import them.
"""

from dataclasses import dataclass

import numpy as np

from service.fitting.descent.run import EngineFor, Run, run
from service.fitting.descent.setting import Setting
from service.fitting.descent.standing import Standing
from service.fitting.diagnosis.answer import Diagnosis
from service.fitting.diagnosis.diagnose import diagnose
from service.fitting.diagnosis.end import End, Means, Printed
from service.fitting.diagnosis.outlook import FURTHER, outlook
from service.fitting.diagnosis.simulation import Simulate, TooLong
from service.fitting.diagnosis.verification import budget, measured
from service.fitting.exact import references, report, solve_exactly
from service.fitting.problem import Problem
from service.fitting.questions import Questions
from service.fitting.recording import Recording
from service.fitting.reference.kernels import Kernels
from service.fitting.solution import Solution
from service.fitting.solver import Exact, Solver
from service.fitting.task import Observer
from service.fitting.trajectory import Trajectory


@dataclass(frozen=True)
class Tools:
    """What a process has to solve with: for the reference, for steps, and for what is looked into afterwards."""

    kernels: Kernels
    engine_for: EngineFor
    simulate: Simulate

    def means(self, setting: Setting) -> Means:
        """For looking into a setting's descent."""
        most = budget(setting)
        return Means(self.simulate, lambda changed: measured(changed, self.engine_for, most))


# What leaves float64 is data here: it comes out as inf or NaN, which the edge says as null.
@np.errstate(all="ignore")
def solve(
    problem: Problem,
    solver: Solver,
    recording: Recording,
    observer: Observer,
    questions: Questions,
    ended: Standing | None,
    tools: Tools,
) -> Solution:
    """See `fit`."""
    inference, others = questions.inference, questions.others
    if isinstance(solver, Exact):
        return Solution(solve_exactly(problem, solver, inference, others, tools.kernels), None)
    found = references(problem, solver.penalty, tools.kernels)
    setting = Setting.of(problem, solver, found, ended, tools.kernels)
    came = run(setting, recording, observer, tools.engine_for)
    diagnosis = _diagnosed(setting, came, recording, questions, tools.means(setting))
    return Solution(report(problem, found, came.finding, inference, others, tools.kernels, diagnosis), came.standing)


def _diagnosed(setting: Setting, came: Run, recording: Recording, questions: Questions, means: Means) -> Diagnosis:
    if came.finding.outcome.kind == "cancelled":
        # Whoever stopped it knows why it came to no more, and does not want to wait.
        return Diagnosis()
    try:
        ahead = outlook(setting, means.simulate, FURTHER)
    except TooLong:
        return Diagnosis()
    finding = came.finding
    end = End(
        kind=finding.outcome.kind,
        steps=finding.outcome.steps,
        scaled=finding.scaled_estimate,
        estimate=finding.estimate,
        loss=finding.loss.final,
        printed=_printed(came.last),
        outlook=ahead,
        state=came.state,
    )
    return diagnose(setting, end, recording, means, questions.explain)


def _printed(last: Trajectory) -> Printed | None:
    if last.total_steps == 0:
        return None
    return Printed(float(last.original.epoch_loss[0]), float(last.original.batch_loss[0]))
