"""What is looked at between blocks of steps: stop rules to heed, progress to report, time that runs out."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.account import Account
from service.fitting.descent.endings import Ending, time_limit
from service.fitting.descent.engine import Rows, State
from service.fitting.solver import Stop
from service.fitting.task import Observer, Progress
from service.fitting.trajectory import Trajectory


@dataclass(frozen=True)
class Met:
    """The first step at which a stop rule was met, and how the descent ends with it."""

    step: int
    ending: Ending


@dataclass(eq=False)
class Watch:
    """Looks at the epochs' ends for the stop rules, and at the clock."""

    account: Account
    stop: Stop
    observer: Observer
    began: float = field(default_factory=time.monotonic)
    last_epoch_loss: float = np.nan

    def begin(self, state: State) -> None:
        """Note the loss at the start, where a descent that this one goes on from had come to an epoch's end."""
        plan = self.account.plan
        if plan.begun > 0 and plan.ends_epoch(state.step):
            self.last_epoch_loss = self.account.loss_of(state.parameters)

    def ends_of_epochs(self, after: int, up_to: int) -> IntArray:
        """The steps among ``after + 1 .. up_to`` that end an epoch, ascending; none where no rule looks at them."""
        if not self.stop.looks_at_epochs:
            return np.empty(0, np.int64)
        plan = self.account.plan
        epochs = np.arange(plan.epochs_ended(after) + 1, plan.epochs_ended(up_to) + 1)
        return epochs * plan.steps_per_epoch - plan.into_epoch

    def met(self, rows: Rows, ends: IntArray) -> Met | None:
        """Whether a rule is met at one of the epochs' ends that have their rows among these; the first of them."""
        ends = ends[: np.searchsorted(ends, rows.step[-1:].max(initial=0), side="right")]
        if len(ends) == 0:
            return None
        parameters = rows.parameters[np.searchsorted(rows.step, ends)]
        numbers = list(self._numbers(parameters))
        held = np.array([number <= tolerance for _, number, _, tolerance in numbers])
        if not held.any():
            return None
        place = int(held.any(axis=0).argmax())
        met = [
            f"{what} is {number[place]:.6g}, with {name} {tolerance:g}"
            for (what, number, name, tolerance), holds in zip(numbers, held[:, place], strict=True)
            if holds
        ]
        epoch = self.account.plan.epochs_ended(int(ends[place]))
        words = f"A stop rule was met at the end of epoch {epoch}: {'; '.join(met)}."
        return Met(int(ends[place]), Ending("converged", words))

    def _numbers(self, parameters: WorkingArray) -> Iterator[tuple[str, FloatArray, str, float]]:
        """What each rule looks at, (e,) at the ends of epochs, and the name and value of its tolerance."""
        account, stop = self.account, self.stop
        if stop.gradient_tolerance is not None:
            norms = account.gradient_norm(parameters)
            yield "the gradient's norm", norms, "gradient_tolerance", stop.gradient_tolerance
        if stop.loss_tolerance is not None:
            losses = account.full_loss(account.excess_squares(parameters))
            changes = np.abs(np.diff(losses, prepend=self.last_epoch_loss))
            self.last_epoch_loss = float(losses[-1])
            yield "the loss's change over the epoch", changes, "loss_tolerance", stop.loss_tolerance
        if stop.gap_tolerance is not None:
            gaps = account.gap(account.in_users_units(parameters))
            yield "the gap to the reference", gaps, "gap_tolerance", stop.gap_tolerance

    def report(self, state: State, rows: Callable[[], Trajectory]) -> bool:
        """Tell the observer how far it has got, and offer it some rows; whether to go on."""
        self.observer.glimpsed(rows)
        account, plan = self.account, self.account.plan
        squares = account.excess_squares(state.parameters[None])
        loss, excess = float(account.full_loss(squares)[0]), float(account.excess_loss(squares)[0])
        done = Progress(state.step, plan.total_steps, plan.epochs_ended(state.step), loss, excess)
        return self.observer.progress(done)

    @property
    def seconds_left(self) -> float:
        limit = self.stop.max_seconds
        return np.inf if limit is None else limit - (time.monotonic() - self.began)

    def out_of_time(self) -> Ending | None:
        """The ending, where no time is left."""
        left, limit = self.seconds_left, self.stop.max_seconds
        return None if limit is None or left > 0.0 else time_limit(limit - left, limit)
