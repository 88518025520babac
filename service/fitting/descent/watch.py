"""What is looked at between blocks of steps: progress to report, stop rules to heed."""

import time
from dataclasses import dataclass, field

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent import account
from service.fitting.descent.account import Optimum
from service.fitting.descent.engine import State
from service.fitting.descent.loop import Ending
from service.fitting.descent.plan import BatchPlan
from service.fitting.errors import FitCancelled
from service.fitting.problem import Problem
from service.fitting.solver import Stop
from service.fitting.task import Observer, Progress


@dataclass(eq=False)
class Watch:
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
