"""Runs a descent from its beginning to what it came to.

Small descents run in the process that serves HTTP: nothing here imports Numba or TensorFlow. Which engines and kernels
there are is for the caller to say.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from service.fitting.comparison import References
from service.fitting.descent.account import Account
from service.fitting.descent.closed_form import ClosedFormEngine
from service.fitting.descent.endings import message
from service.fitting.descent.engine import Arena, Engine, Rows, State
from service.fitting.descent.going_on import Beginning
from service.fitting.descent.loop import Descended, descend
from service.fitting.descent.recorder import Recorder
from service.fitting.descent.setting import Setting
from service.fitting.descent.standing import Standing
from service.fitting.descent.watch import Watch
from service.fitting.exact import Finding
from service.fitting.outcome import Outcome
from service.fitting.recording import Recording, recorded_steps
from service.fitting.solution import LossReport
from service.fitting.solver import Backend
from service.fitting.task import Observer
from service.fitting.trajectory import Trajectory

#: The engine of a backend for an arena, and the most steps it should be asked for at once.
EngineFor = Callable[[Backend, Arena], tuple[Engine, int]]


@dataclass(frozen=True, eq=False)
class Run:
    """What a descent came to.

    Attributes
    ----------
    state
        After the last step.
    last
        What there is to tell of that step, one row.
    standing
        For another descent to go on from.
    """

    finding: Finding
    state: State
    last: Trajectory
    standing: Standing


def run(setting: Setting, recording: Recording, observer: Observer, engine_for: EngineFor) -> Run:
    """Descend."""
    beginning, plan, solver = setting.beginning, setting.plan, setting.solver
    engine, longest = engine_for(solver.backend, setting.arena)
    account = setting.account(recording)
    steps = recorded_steps(recording, plan.total_steps, plan.steps_per_epoch, plan.into_epoch)
    recorder = Recorder(account, steps, observer.recorded)
    watch = Watch(account, solver.stop, observer)
    orders = beginning.row_orders()
    descended = descend(engine, longest, beginning.state, orders, recorder, watch)
    by_closed_form = engine.name == ClosedFormEngine.name
    return Run(
        finding=_finding(beginning, account, setting.found, engine.name, descended),
        state=descended.state,
        last=_row(account, descended.state),
        standing=beginning.ended(descended.state, orders, by_closed_form=by_closed_form),
    )


def _row(account: Account, state: State) -> Trajectory:
    records = np.empty(1, account.layout)
    step, w = np.array([state.step]), state.parameters[None]
    account.write(Rows(step, w, state.batch_squares[None], state.epoch_squares[None]), records)
    return Trajectory(account, records)


def _finding(beginning: Beginning, account: Account, found: References, engine: str, descended: Descended) -> Finding:
    state = descended.state
    # A running mean of the parameters is the answer where one is kept, as after Keras's `fit`.
    # It is empty before the first update.
    is_mean = beginning.rule.averaging is not None and beginning.iterations + state.step > 0
    answer = state.average if is_mean else state.parameters
    scaled = answer.astype(np.float64)
    estimate, squares = account.in_users_units(scaled[None])[0], account.excess_squares(scaled[None])
    loss = LossReport(
        initial=account.loss_of(beginning.state.parameters),
        final=float(account.full_loss(squares)[0]),
        reference=account.optimum.least,
        excess=float(account.excess_loss(squares)[0]),
    )
    outcome = Outcome(
        descended.ending.kind,
        message(descended.ending, found, estimate, loss.final),
        steps=state.step,
        epochs=account.plan.epochs_ended(state.step),
        iterations=beginning.iterations + state.step,
    )
    return Finding(outcome, engine, estimate, scaled, loss)
