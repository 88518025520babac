"""One verb: ``fit(problem, solver, recording, observe) -> Solution``."""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import compare, describe
from service.fitting.descent import account
from service.fitting.descent.account import Optimum
from service.fitting.descent.backends import engine_for
from service.fitting.descent.endings import message
from service.fitting.descent.engine import Arena
from service.fitting.descent.loop import Descended, descend
from service.fitting.descent.plan import BatchPlan, plan_batches
from service.fitting.descent.start import starting_parameters
from service.fitting.descent.update_rules import rule_of
from service.fitting.descent.watch import Watch
from service.fitting.outcome import Outcome
from service.fitting.problem import Problem
from service.fitting.recording import Recording, recorded_steps
from service.fitting.reference.least_squares import LeastSquares, least_squares
from service.fitting.solution import LossReport, Report, Solution
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import Observer


# What leaves float64 is data here: it comes out as inf or NaN, which the edge says as null.
@np.errstate(all="ignore")
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
        outcome=Outcome("exact", message("exact", problem, solution, loss), steps=0, epochs=0),
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
    watch = Watch(problem, plan, solver.stop, observe, optimum)
    run = descend(
        engine,
        plan,
        starting_parameters(problem, solver.start, solver.seed).astype(working),
        recorded_steps(recording, plan.total_steps, plan.steps_per_epoch),
        longest_block=longest_block,
        block_per_epoch=watch.looks_at_epochs,
        watch=watch,
    )
    rate = solver.optimizer.learning_rate
    record = account.trajectory(problem, optimum, plan, rate, run.rows, recording.coefficients)
    return Solution(_descent_report(problem, plan, engine.name, run, optimum, record.original.loss), record)


def _descent_report(
    problem: Problem, plan: BatchPlan, engine: str, run: Descended, optimum: Optimum, losses: FloatArray
) -> Report:
    scaled = run.state.parameters.astype(np.float64)
    above = account.excess(problem, optimum, scaled[None])
    least = account.loss_at_optimum(problem, optimum.original)
    return Report(
        outcome=Outcome(
            run.ending,
            message(run.ending, problem, optimum.original, float(losses[-1])),
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
