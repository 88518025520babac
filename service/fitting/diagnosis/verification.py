"""Really runs a patched fit, where that is quickly done, and measures how far from the reference it ends.

What it takes is counted beforehand, never timed: the same fit is verified everywhere, or nowhere.
"""

import math

import numpy as np

from service.fitting.arrays import length
from service.fitting.descent.closed_form import ClosedFormEngine
from service.fitting.descent.engine import Engine
from service.fitting.descent.run import EngineFor, run
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import Gap
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.recording import Recording
from service.fitting.task import Collector

#: What a run may be expected to take, in seconds, beside those few milliseconds that every run takes; and what one may
#: that looks into a descent which took as long itself.
MOST_SECONDS, MOST_SECONDS_AFTER_LONGER = 0.05, 1.0
#: Only where a run ends is looked at.
_ENDS = Recording(coefficients=False, limit=2)

# Measured on one core of an AMD EPYC, in seconds, for 2 to 41 parameters and batches of 1 to 100 000 rows.
_A_DATA_PRODUCT = 1e-9
_A_STEP, _A_TENSORFLOW_STEP = 6e-8, 2e-6
_A_STATE_PRODUCT = 2.5e-9
_A_ROW, _A_SHUFFLED_ROW = 4e-9, 1.6e-8
_A_ROW_PRODUCT = 1.5e-9
# Drawing an epoch's order, its rows apart.
_AN_ORDER = 3e-6


# What leaves float64 is data here: it ends the run.
@np.errstate(all="ignore")
def measured(setting: Setting, engine_for: EngineFor, most_seconds: float = MOST_SECONDS) -> Gap:
    """Where the setting's descent really ends; an infinite gap where it diverged.

    Parameters
    ----------
    most_seconds
        What it may be expected to take.

    Raises
    ------
    TooLong
        It would take longer.
    """
    # TensorFlow compiles for longer than any budget before it takes a step.
    if setting.solver.backend == "tensorflow" or preparing_seconds(setting) > most_seconds:
        raise TooLong
    engine, longest = engine_for(setting.solver.backend, setting.arena)
    if isinstance(engine, ClosedFormEngine):
        return _jumped(setting, engine)
    if stepping_seconds(setting, by_rows=engine.name == "numpy_rows") > most_seconds:
        raise TooLong

    def made(*_: object) -> tuple[Engine, int]:
        return engine, longest

    finding = run(setting, _ENDS, Collector(), made).finding
    if finding.outcome.kind == "diverged":
        return Gap(finding.outcome.steps, math.inf)
    return Gap(finding.outcome.steps, length(finding.estimate - setting.found.original.parameters))


def _jumped(setting: Setting, engine: ClosedFormEngine) -> Gap:
    """What `run` comes to, which asks for all steps too, and for what it records on the way."""
    block = engine.advance(setting.beginning.state, setting.plan.total_steps, None, np.empty(0, np.int64))
    if not block.finite:
        return Gap(block.state.step, math.inf)
    estimate = setting.problem.units.to_user(block.state.parameters.astype(np.float64))
    return Gap(block.state.step, length(estimate - setting.found.original.parameters))


def budget(setting: Setting) -> float:
    """Seconds that may be spent on each run that looks into a setting's descent: what it took itself, within bounds."""
    own = preparing_seconds(setting) + stepping_seconds(setting, by_rows=setting.plan.reshuffles)
    return min(max(own, MOST_SECONDS), MOST_SECONDS_AFTER_LONGER)


def preparing_seconds(setting: Setting) -> float:
    """For the sums of the data that steps are taken by."""
    m, q = _shape(setting)
    return _A_DATA_PRODUCT * setting.plan.rows * m * (m + q)


def stepping_seconds(setting: Setting, *, by_rows: bool, most_steps: int | None = None) -> float:
    """For all steps of the plan, or the first `most_steps`, taken one by one: by each batch's rows or by its sums."""
    (m, q), plan = _shape(setting), setting.plan
    steps = plan.total_steps if most_steps is None else min(plan.total_steps, most_steps)
    a_row = (_A_SHUFFLED_ROW if plan.reshuffles else _A_ROW) + _A_ROW_PRODUCT * m * q
    numbers = a_row * plan.batch_size if by_rows else _A_STATE_PRODUCT * m * (m + q)
    step = _A_TENSORFLOW_STEP if setting.solver.backend == "tensorflow" else _A_STEP
    if plan.reshuffles:
        step += _AN_ORDER / plan.steps_per_epoch
    return steps * (numbers + step)


def _shape(setting: Setting) -> tuple[int, int]:
    model = setting.problem.model
    return len(model.terms), len(model.targets)
