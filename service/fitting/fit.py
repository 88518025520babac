"""One verb: ``fit(problem, solver, recording, observe) -> Solution``."""

import time
from dataclasses import dataclass, field

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import compare, describe
from service.fitting.descent import account
from service.fitting.descent.account import Optimum
from service.fitting.descent.backends import engine_for
from service.fitting.descent.endings import message
from service.fitting.descent.engine import Arena, State
from service.fitting.descent.loop import Descended, Ending, descend
from service.fitting.descent.plan import BatchPlan, plan_batches
from service.fitting.descent.start import Values, draw
from service.fitting.descent.update_rules import rule_of
from service.fitting.errors import FitCancelled
from service.fitting.outcome import Outcome
from service.fitting.problem import Problem
from service.fitting.recording import Recording, recorded_steps
from service.fitting.reference.least_squares import LeastSquares, least_squares
from service.fitting.solution import LossReport, Report, Solution
from service.fitting.solver import Descent, Exact, Solver, Stop
from service.fitting.task import Observer, Progress


def fit(problem: Problem, solver: Solver, recording: Recording, observe: Observer) -> Solution:
    """Solve the problem and hang the exact answer beside it.

    Raises
    ------
    FitCancelled
        `observe` returned False.
    """
    original = least_squares(problem.design(problem.x), problem.y)
    if isinstance(solver, Exact):
        return Solution(_exact_report(problem, original), None)
    return _descent(problem, solver, recording, observe, Optimum(original, _scaled_optimum(problem, original)))


def _scaled_optimum(problem: Problem, original: LeastSquares) -> LeastSquares:
    if problem.scaling.is_none:
        return original
    return least_squares(problem.design(problem.scaled_x), problem.scaled_y)


def _exact_report(problem: Problem, solution: LeastSquares) -> Report:
    loss = account.loss_at_optimum(problem, solution)
    scaled = problem.units.to_scaled(solution.parameters)
    return Report(
        outcome=Outcome("exact", message("exact", problem, solution), steps=0, epochs=0),
        engine="least_squares",
        coefficients=compare(problem.model, solution.parameters, scaled, solution),
        loss=LossReport(initial=None, final=loss, reference=loss, excess=0.0),
        reference=describe(solution),
    )


def _descent(problem: Problem, solver: Descent, recording: Recording, observe: Observer, optimum: Optimum) -> Solution:
    plan = plan_batches(solver, problem.dataset.rows)
    working = np.dtype(solver.dtype)
    arena = Arena(
        np.ascontiguousarray(problem.design(problem.scaled_x), dtype=working),
        np.ascontiguousarray(problem.scaled_y, dtype=working),
        plan,
        rule_of(solver.optimizer),
        problem.loss,
    )
    engine, longest_block = engine_for(solver.backend, arena)
    watch = _Watch(problem, plan, solver.stop, observe, optimum)
    run = descend(
        engine,
        plan,
        _start(problem, solver).astype(working),
        recorded_steps(recording, plan.total_steps, plan.steps_per_epoch),
        longest_block=longest_block,
        block_per_epoch=watch.looks_at_epochs,
        watch=watch,
    )
    rate = solver.optimizer.learning_rate
    record = account.trajectory(problem, optimum, plan, rate, run.rows, recording.coefficients)
    return Solution(_descent_report(problem, plan, engine.name, run, optimum, record.original.loss), record)


def _start(problem: Problem, solver: Descent) -> FloatArray:
    """Parameters (m, q) to start from, in descent's units."""
    p, q = len(problem.model.features), len(problem.model.targets)
    start = solver.start
    if not isinstance(start, Values):
        return draw(start, solver.seed, p, q, problem.model.intercept)
    given = np.array(start.coefficients, dtype=np.float64).reshape(p, q)
    if start.intercept is not None and problem.model.intercept:
        given = np.vstack([np.array(start.intercept, dtype=np.float64), given])
    return problem.units.to_scaled(given) if start.units == "original" else given


def _descent_report(
    problem: Problem, plan: BatchPlan, engine: str, run: Descended, optimum: Optimum, losses: FloatArray
) -> Report:
    scaled = run.state.parameters.astype(np.float64)
    above = account.excess(problem, optimum, scaled[None])
    least = account.loss_at_optimum(problem, optimum.original)
    return Report(
        outcome=Outcome(
            run.ending,
            message(run.ending, problem, optimum.original),
            steps=run.state.step,
            epochs=run.state.step // plan.steps_per_epoch,
        ),
        engine=engine,
        coefficients=compare(problem.model, problem.units.to_user(scaled), scaled, optimum.original),
        loss=LossReport(
            initial=float(losses[0]),
            final=float(losses[-1]),
            reference=least,
            excess=float(account.excess_loss(problem, above)[0]),
        ),
        reference=describe(optimum.original),
    )


@dataclass(eq=False)
class _Watch:
    """Reports progress after every block, and names the ending where a stop rule is met."""

    problem: Problem
    plan: BatchPlan
    stop: Stop
    observe: Observer
    optimum: Optimum
    began: float = field(default_factory=time.monotonic)
    last_epoch_loss: float = np.inf

    @property
    def looks_at_epochs(self) -> bool:
        stop = self.stop
        return any(rule is not None for rule in (stop.gradient_tolerance, stop.loss_tolerance, stop.gap_tolerance))

    def __call__(self, state: State) -> Ending | None:
        parameters = state.parameters.astype(np.float64)
        above = account.excess(self.problem, self.optimum, parameters[None])
        loss = float(account.losses_on_all_rows(self.problem, self.optimum, above)[0])
        self._report(state, loss)
        if self.looks_at_epochs and state.step % self.plan.steps_per_epoch == 0:
            if self._converged(parameters, float(above.gradient[0]), loss):
                return "converged"
            self.last_epoch_loss = loss
        limit = self.stop.max_seconds
        return "time_limit" if limit is not None and time.monotonic() - self.began >= limit else None

    def _report(self, state: State, loss: float) -> None:
        done = Progress(state.step, self.plan.total_steps, state.step // self.plan.steps_per_epoch, loss)
        if not self.observe(done):
            raise FitCancelled(f"stopped after {state.step} steps")

    def _converged(self, parameters: FloatArray, gradient: float, loss: float) -> bool:
        stop = self.stop
        if stop.gradient_tolerance is not None and gradient <= stop.gradient_tolerance:
            return True
        if stop.loss_tolerance is not None and abs(self.last_epoch_loss - loss) <= stop.loss_tolerance:
            return True
        if stop.gap_tolerance is None:
            return False
        user = self.problem.units.to_user(parameters)[None]
        return float(account.distance(user, self.optimum.original.parameters)[0]) <= stop.gap_tolerance
