"""Going on from where another fit ended, or beginning anew: what a descent begins with, and what it leaves behind.

Of a fit with the same terms and targets the parameters are always taken over. Beside them, each by itself:

- the place in the batch plan, with the same data, model, scaling and batch plan;
- the optimizer's memory and its number of updates, with an optimizer of the same kind that keeps the same things, in
  the same units; its learning rate and other options may be others;
- the origin of a closed form, where nothing that a step is computed from has changed.

So the same request goes on to the last bit as if it had never stopped, and every other change begins anew what it must.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from service.fitting.descent.engine import State
from service.fitting.descent.plan import BatchPlan, plan_batches
from service.fitting.descent.row_orders import RowOrders
from service.fitting.descent.rules import Rule, rule_of
from service.fitting.descent.standing import Course, Identity, Origin, Standing, StreamState
from service.fitting.descent.start import Ended, starting_parameters
from service.fitting.problem import Problem
from service.fitting.solver import Descent

#: Options that decide what an optimizer keeps of its past steps.
_KEEPING = ("momentum", "centered", "amsgrad", "use_ema")


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a descent begins with.

    Attributes
    ----------
    state
        At step 0.
    iterations
        Updates that the optimizer made before.
    orders
        Where the row orders go on; None where the plan begins, or takes rows in order.
    origin
        Where a closed form counts from; `state` itself where nothing went before.
    """

    problem: Problem
    solver: Descent
    plan: BatchPlan
    rule: Rule
    state: State
    iterations: int
    orders: StreamState | None
    origin: Origin

    @cached_property
    def identity(self) -> Identity:
        """What this descent belongs to."""
        problem, solver, plan = self.problem, self.solver, self.plan
        place = (
            *(problem.dataset.digest, problem.model, problem.scaling),
            *(plan.rows, plan.batch_size, plan.steps_per_epoch, plan.reshuffles and plan.seed),
        )
        keeping = [option for option in _KEEPING if getattr(solver.optimizer, option, False)]
        return Identity(
            plan=_digest(*place),
            memory=" ".join([solver.optimizer.kind, *keeping]),
            arithmetic=_digest(*place, problem.loss, solver.penalty, solver.optimizer, solver.dtype, solver.backend),
        )

    def by(self, solver: Descent, ended: Standing | None) -> "Beginning":
        """The beginning of the same problem's descent by another solver; `ended` as for `begin`."""
        dtype, own = np.dtype(solver.dtype), self.solver
        rule, state = rule_of(solver.optimizer, dtype), self.state
        is_alike = (solver.start, solver.seed, dtype) == (own.start, own.seed, self.rule.dtype)
        if not is_alike or isinstance(solver.start, Ended) or rule.first_slots != self.rule.first_slots:
            return begin(self.problem, solver, ended)
        return Beginning(self.problem, solver, plan_batches(solver, self.plan.rows), rule, state, 0, None, self.origin)

    def row_orders(self) -> RowOrders:
        """The row orders of this descent, from its first step on."""
        return RowOrders(self.plan, self.orders)

    def ended(self, state: State, orders: RowOrders, *, by_closed_form: bool = False) -> Standing:
        """Where it stands at `state`, up to which it has taken its rows from `orders`, or gone by a closed form."""
        model = self.problem.model
        course = Course(
            identity=self.identity,
            iterations=self.iterations + state.step,
            taken=self.plan.begun + state.step,
            orders=orders.state_at(state.step),
            slots=state.slots,
            average=state.average,
            epoch_squares=state.epoch_squares,
            origin=replace(self.origin, since=self.origin.since + state.step) if by_closed_form else None,
        )
        return Standing(model.terms, model.targets, state.parameters, self.problem.units, course)


def begin(problem: Problem, solver: Descent, ended: Standing | None = None) -> Beginning:
    """What the descent begins with; `ended` is where the fit of a start `Ended` did."""
    dtype = np.dtype(solver.dtype)
    rule = rule_of(solver.optimizer, dtype)
    parameters = starting_parameters(problem, solver.start, solver.seed, ended).astype(dtype)
    state = State.at_start(parameters, rule)
    plan = plan_batches(solver, problem.dataset.rows)
    fresh = Beginning(problem, solver, plan, rule, state, 0, None, Origin(0, parameters, state.slots))
    if not isinstance(solver.start, Ended) or ended is None or ended.course is None:
        return fresh
    return _going_on(fresh, ended, ended.course)


def _going_on(fresh: Beginning, ended: Standing, course: Course) -> Beginning:
    belonged, belongs, dtype = course.identity, fresh.identity, fresh.state.parameters.dtype
    begun = fresh
    if belonged.plan == belongs.plan:
        plan = replace(begun.plan, begun=course.taken)
        state = replace(begun.state, epoch_squares=course.epoch_squares)
        begun = replace(begun, plan=plan, state=state, orders=course.orders)
    if belonged.memory == belongs.memory and ended.is_in(fresh.problem.units):
        state = replace(begun.state, slots=course.slots.astype(dtype), average=course.average.astype(dtype))
        origin = replace(begun.origin, slots=state.slots)
        begun = replace(begun, state=state, iterations=course.iterations, origin=origin)
    if belonged.arithmetic == belongs.arithmetic and course.origin is not None:
        begun = replace(begun, origin=course.origin)
    return begun


def _digest(*parts: object) -> str:
    """Of values whose `repr` says all of them: frozen dataclasses of numbers and names."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
