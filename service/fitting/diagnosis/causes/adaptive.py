"""Optimizers whose steps do not shrink with the gradient."""

from dataclasses import replace

from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import Values
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts, known
from service.fitting.diagnosis.causes.progress import gap_with_more

#: Of the learning rate: with so much of it the fit goes on, to see whether it comes nearer.
_SMALLER = 0.1


def step_floor(evidence: Evidence) -> Cause | None:
    """`adaptive_step_floor`: it goes round, and comes nearer with a smaller learning rate than with more steps."""
    optimizer = evidence.setting.solver.optimizer
    if isinstance(optimizer, Sgd):
        return None
    gap = evidence.gap_of(_slower_from_here(evidence))
    share = evidence.share(gap)
    if not counts(share) or share <= evidence.share(gap_with_more(evidence)):
        return None
    numbers = known(learning_rate=evidence.last_rate, gap_with_tenth=gap)
    message = words.adaptive_step_floor(numbers, optimizer.kind, evidence.whole)
    return cause("adaptive_step_floor", message, numbers, share)


def _slower_from_here(evidence: Evidence) -> Setting:
    """As many steps again, from where it ended, by a tenth of the last learning rate."""
    parameters, intercept = evidence.end.scaled.tolist(), int(evidence.setting.problem.model.intercept)
    start = Values(
        coefficients=tuple(map(tuple, parameters[intercept:])),
        intercept=tuple(parameters[0]) if intercept else None,
        units="scaled",
    )
    slower = evidence.with_optimizer(learning_rate=_SMALLER * evidence.last_rate)
    return slower.with_solver(replace(slower.solver, start=start))
