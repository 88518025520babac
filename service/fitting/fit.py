"""One verb: ``fit(problem, solver, recording, observe) -> Solution``."""

from collections.abc import Sequence

import numpy as np

from service.fitting.comparison import References
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
from service.fitting.exact import USUAL, Finding, references, report, solve_exactly
from service.fitting.inference.options import Inference
from service.fitting.others.answer import OtherName
from service.fitting.outcome import Outcome
from service.fitting.problem import Problem
from service.fitting.recording import Recording, recorded_steps
from service.fitting.reference.compiled import COMPILED
from service.fitting.reference.least_squares import LeastSquares, least_squares
from service.fitting.solution import LossReport, Solution
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import Observer
from service.fitting.trajectory import Trajectory


# What leaves float64 is data here: it comes out as inf or NaN, which the edge says as null.
@np.errstate(all="ignore")
def fit(
    problem: Problem,
    solver: Solver,
    recording: Recording,
    observe: Observer,
    inference: Inference = USUAL,
    others: Sequence[OtherName] = (),
) -> Solution:
    """Solve the problem and hang the exact answer beside it.

    Raises
    ------
    FitCancelled
        `observe` returned False.
    """
    if isinstance(solver, Exact):
        return Solution(solve_exactly(problem, solver, inference, others, COMPILED), None)
    found = references(problem, solver.penalty, COMPILED)
    finding, record = _descent(problem, solver, recording, observe, found)
    return Solution(report(problem, found, finding, inference, others, COMPILED), record)


def _descent(
    problem: Problem, solver: Descent, recording: Recording, observe: Observer, found: References
) -> tuple[Finding, Trajectory]:
    plan = plan_batches(solver, problem.dataset.rows)
    arena = _arena(problem, solver, plan)
    engine, longest_block = engine_for(solver.backend, arena)
    optimum = Optimum(found.original, _scaled_optimum(problem, solver, found))
    watch = Watch(problem, plan, solver.stop, observe, optimum)
    run = descend(
        engine,
        plan,
        starting_parameters(problem, solver.start, solver.seed).astype(arena.dtype),
        recorded_steps(recording, plan.total_steps, plan.steps_per_epoch),
        longest_block=longest_block,
        block_per_epoch=watch.looks_at_epochs,
        watch=watch,
    )
    rate = solver.optimizer.learning_rate
    record = account.trajectory(problem, optimum, plan, rate, run.rows, recording.coefficients)
    return _finding(problem, found, optimum, engine.name, plan, run, record), record


def _arena(problem: Problem, solver: Descent, plan: BatchPlan) -> Arena:
    working = np.dtype(solver.dtype)
    penalties = problem.penalties(solver.penalty)
    return Arena(
        np.ascontiguousarray(problem.weighted(problem.scaled_design().plain()), dtype=working),
        np.ascontiguousarray(problem.weighted(problem.scaled_y), dtype=working),
        np.zeros(len(problem.model.terms)) if penalties is None else penalties,
        plan,
        rule_of(solver.optimizer),
        problem.loss,
    )


def _scaled_optimum(problem: Problem, solver: Descent, found: References) -> LeastSquares:
    if problem.scaling.is_none:
        return found.original
    return least_squares(problem.scaled_design(solver.penalty), problem.scaled_y, COMPILED)


def _finding(
    problem: Problem,
    found: References,
    optimum: Optimum,
    engine: str,
    plan: BatchPlan,
    run: Descended,
    record: Trajectory,
) -> Finding:
    scaled = run.state.parameters.astype(np.float64)
    estimate, losses = problem.units.to_user(scaled), record.original.loss
    outcome = Outcome(
        run.ending,
        message(run.ending, found, estimate, losses[-1]),
        steps=run.state.step,
        epochs=run.state.step // plan.steps_per_epoch,
    )
    loss = LossReport(
        initial=float(losses[0]),
        final=float(losses[-1]),
        reference=account.loss_at_optimum(problem, optimum.original),
        excess=float(account.excess_loss(problem, account.excess(problem, optimum, scaled[None]))[0]),
    )
    return Finding(outcome, engine, estimate, scaled, loss)
