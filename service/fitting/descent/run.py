"""Runs a descent from its beginning to what it came to.

Small descents run in the process that serves HTTP: nothing here imports Numba or TensorFlow. Which engines and kernels
there are is for the caller to say.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from service.fitting.comparison import References
from service.fitting.descent.account import Account, Optimum
from service.fitting.descent.arena import arena_of
from service.fitting.descent.closed_form import ClosedFormEngine
from service.fitting.descent.endings import message
from service.fitting.descent.engine import Arena, Engine
from service.fitting.descent.going_on import Beginning, begin
from service.fitting.descent.loop import Descended, descend
from service.fitting.descent.recorder import Recorder
from service.fitting.descent.remembered import in_words, remembered
from service.fitting.descent.standing import Standing
from service.fitting.descent.watch import Watch
from service.fitting.exact import Finding
from service.fitting.outcome import Outcome
from service.fitting.penalty import Penalty
from service.fitting.problem import Problem
from service.fitting.recording import Recording, recorded_steps
from service.fitting.reference.kernels import Kernels
from service.fitting.reference.least_squares import LeastSquares, least_squares
from service.fitting.solution import LossReport
from service.fitting.solver import Backend, Descent
from service.fitting.task import Observer

#: The engine of a backend for an arena, and the most steps it should be asked for at once.
EngineFor = Callable[[Backend, Arena], tuple[Engine, int]]


@dataclass(frozen=True, eq=False)
class Run:
    """What a descent came to, and where it stands for another one to go on from."""

    finding: Finding
    standing: Standing


def run(
    problem: Problem,
    solver: Descent,
    recording: Recording,
    observer: Observer,
    found: References,
    kernels: Kernels,
    engine_for: EngineFor,
    ended: Standing | None = None,
) -> Run:
    """Descend towards `found`; `ended` is where the fit stands that the solver's start names, if it names one."""
    beginning = begin(problem, solver, ended)
    plan = beginning.plan
    optimum = _optimum(problem, found.original, _scaled_optimum(problem, solver.penalty, found, kernels))
    arena = arena_of(beginning, optimum.scaled)
    engine, longest = engine_for(solver.backend, arena)
    account = _account(beginning, optimum, recording)
    steps = recorded_steps(recording, plan.total_steps, plan.steps_per_epoch, plan.into_epoch)
    recorder = Recorder(account, steps, observer.recorded)
    watch = Watch(account, solver.stop, observer)
    orders = beginning.row_orders()
    descended = descend(engine, longest, beginning.state, orders, recorder, watch)
    finding = _finding(beginning, account, found, engine.name, descended)
    by_closed_form = engine.name == ClosedFormEngine.name
    return Run(finding, beginning.ended(descended.state, orders, by_closed_form=by_closed_form))


def _scaled_optimum(problem: Problem, penalty: Penalty | None, found: References, kernels: Kernels) -> LeastSquares:
    if problem.scaling.is_none:
        return found.original
    return least_squares(problem.scaled_design(penalty), problem.scaled_y, kernels)


def _optimum(problem: Problem, original: LeastSquares, scaled: LeastSquares) -> Optimum:
    return Optimum(
        parameters=original.parameters,
        least=original.squares / problem.divisor,
        scaled=scaled.parameters,
        scaled_least=scaled.squares / problem.divisor,
        triangle=scaled.triangle,
    )


def _account(beginning: Beginning, optimum: Optimum, recording: Recording) -> Account:
    problem, solver = beginning.problem, beginning.solver
    return Account(
        terms=problem.model.terms,
        targets=problem.model.targets,
        plan=beginning.plan,
        loss=problem.loss,
        units=problem.units,
        is_scaled=not problem.scaling.is_none,
        is_penalised=problem.penalties(solver.penalty) is not None,
        keeps_parameters=recording.coefficients,
        optimum=optimum,
        learning_rate=solver.optimizer.learning_rate,
        earlier=beginning.iterations,
        precision=solver.dtype,
    )


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
    start = beginning.state.parameters.astype(np.float64)
    kept = remembered(account.terms, account.optimum, account.divisor, start, scaled)
    outcome = Outcome(
        descended.ending.kind,
        message(descended.ending, found, estimate, loss.final) + in_words(kept),
        steps=state.step,
        epochs=account.plan.epochs_ended(state.step),
        iterations=beginning.iterations + state.step,
    )
    return Finding(outcome, engine, estimate, scaled, loss, kept)
