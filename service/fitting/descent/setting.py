"""A descent before its first step: where it begins, where it leads, and what it runs on.

It can be run (`run`), or looked at without running it (`service.fitting.diagnosis`).
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import References
from service.fitting.descent.account import Account, Optimum
from service.fitting.descent.arena import arena_of
from service.fitting.descent.batch_products import batch_products
from service.fitting.descent.engine import Arena
from service.fitting.descent.going_on import Beginning, begin
from service.fitting.descent.kept import Kept
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.rescaled import rescaled
from service.fitting.descent.spectrum import Spectrum
from service.fitting.descent.standing import Standing
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import LeastSquares, least_squares
from service.fitting.scaling import CENTRING, Scaling
from service.fitting.solver import Descent

#: Starts that something is kept of, and ways of going on from each.
_STARTS, _ATTEMPTS = 4, 8


@dataclass(frozen=True, eq=False)
class Setting:
    """See the module's first lines.

    Attributes
    ----------
    found
        What the answer is compared with.
    optimum
        The same in descent's units too, with the triangle of the Hessian.
    ended
        Where the fit ended that the solver's start names; None where it names none.
    kept
        What has been worked out of the data, for all settings of them in the same units.
    """

    beginning: Beginning
    found: References
    optimum: Optimum
    ended: Standing | None = None
    kept: Kept = field(default_factory=Kept)

    @classmethod
    def of(
        cls,
        problem: Problem,
        solver: Descent,
        found: References,
        ended: Standing | None = None,
        kernels: Kernels = PLAIN,
    ) -> "Setting":
        """The setting of a descent towards `found`."""
        scaled = found.original
        if not problem.scaling.is_none:
            scaled = least_squares(problem.scaled_design(solver.penalty), problem.scaled_y, kernels)
        return cls(begin(problem, solver, ended), found, _optimum(problem, found.original, scaled), ended)

    def with_solver(self, solver: Descent, ended: Standing | None = None) -> "Setting":
        """The same with another solver, which has the same penalty: nothing is solved again."""
        return replace(self, beginning=self.beginning.by(solver, ended), ended=ended)

    def with_scaling(self, scaling: Scaling) -> "Setting | None":
        """The same problem in other descent's units: nothing is solved again.

        None where it would be another problem, there being a penalty, which is in descent's units; and where no
        intercept could take a centre up.
        """
        if scaling == self.problem.scaling:
            return self
        inside = self.kept.once(("scaling", scaling), lambda: _inside(self, scaling))
        if inside is None:
            return None
        problem, optimum, kept = inside
        return replace(self, beginning=begin(problem, self.solver, self.ended), optimum=optimum, kept=kept)

    @property
    def problem(self) -> Problem:
        return self.beginning.problem

    @property
    def solver(self) -> Descent:
        return self.beginning.solver

    @property
    def plan(self) -> BatchPlan:
        return self.beginning.plan

    @cached_property
    def arena(self) -> Arena:
        """What an engine is made for."""
        return arena_of(self.beginning, self.optimum.scaled, self.kept)

    @cached_property
    def started(self) -> Kept:
        """What has been worked out of the data and the start, for the settings that have both."""
        state = self.beginning.state
        parameters, velocity = (part.astype(np.float64) for part in (state.parameters, state.slots[0]))
        return self.kept.once("started", lambda: Kept(_STARTS)).once(parameters.tobytes() + velocity.tobytes(), Kept)

    @property
    def attempts(self) -> Kept:
        """The same of the few ways of going on from there that were looked at last."""
        return self.started.once("attempts", lambda: Kept(_ATTEMPTS))

    @cached_property
    def spectrum(self) -> Spectrum:
        """Of the loss, penalty inside."""
        return self.started.once("spectrum", self._spectrum)

    def _spectrum(self) -> Spectrum:
        triangle, divisor = self.optimum.triangle, self.problem.divisor
        return Spectrum.of(self.problem.model.terms, triangle, divisor, self.gap_at_start)

    @cached_property
    def gap_at_start(self) -> FloatArray:
        """(m, q) W - W* before the first step, in descent's units."""
        return self.beginning.state.parameters.astype(np.float64) - self.optimum.scaled

    @property
    def products(self) -> FloatArray:
        """(b, m + 1, m + q) the sufficient statistics of the plan's batches about the optimum, rows taken in order.

        See `batch_products`; of rows that are rounded to the precision that the descent works in.
        """
        plan = self.plan
        key = ("products", plan.batch_size, plan.steps_per_epoch, self.solver.dtype)
        return self.kept.once(key, lambda: batch_products(self.arena))

    def account(self, recording: Recording) -> Account:
        """By what recorded rows are told."""
        problem, solver = self.problem, self.solver
        return Account(
            terms=problem.model.terms,
            targets=problem.model.targets,
            plan=self.plan,
            loss=problem.loss,
            units=problem.units,
            is_scaled=not problem.scaling.is_none,
            is_penalised=problem.penalties(solver.penalty) is not None,
            keeps_parameters=recording.coefficients,
            optimum=self.optimum,
            learning_rate=solver.optimizer.learning_rate,
            earlier=self.beginning.iterations,
            precision=solver.dtype,
        )


def _inside(setting: Setting, scaling: Scaling) -> tuple[Problem, Optimum, Kept] | None:
    """What is the same for all settings of a problem in other units."""
    problem, centres = setting.problem, any(kind in CENTRING for kind in (scaling.features, scaling.targets))
    if setting.found.is_penalised or (centres and not problem.model.intercept):
        return None
    other = replace(problem, scaling=scaling)
    return other, rescaled(setting.optimum, setting.found, problem.units, other), Kept()


def _optimum(problem: Problem, original: LeastSquares, scaled: LeastSquares) -> Optimum:
    return Optimum(
        parameters=original.parameters,
        least=original.squares / problem.divisor,
        scaled=scaled.parameters,
        scaled_least=scaled.squares / problem.divisor,
        triangle=scaled.triangle,
    )
