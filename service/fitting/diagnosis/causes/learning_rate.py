"""The learning rate: too large, too small, or brought down too soon."""

from typing import NamedTuple

import numpy as np

from service.fitting.descent.optimizers import Sgd
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts, known
from service.fitting.diagnosis.causes.progress import ARRIVED
from service.fitting.diagnosis.outlook import FURTHER

#: Times the learning rate that are tried where no closed form says which rate is the best.
_TIMES = (10.0, 100.0, 1000.0)


def too_large(evidence: Evidence) -> Cause | None:
    """`learning_rate_too_large`, for descents that diverged, would, or end nearer with a smaller rate."""
    outlook, best = evidence.outlook, evidence.outlook.best_learning_rate
    diverged = evidence.end.kind == "diverged" or (outlook.is_stable is False and best is None)
    if diverged and outlook.is_stable:
        return None
    gap = evidence.gap_with_best_rate if best is not None and evidence.first_rate > best else None
    share = 1.0 if diverged else evidence.share(gap)
    if not counts(share):
        return None
    numbers = known(
        learning_rate=evidence.first_rate,
        largest_stable_learning_rate=outlook.largest_stable_learning_rate,
        best_learning_rate=best,
        gap_with_best=gap,
        steps=evidence.end.steps,
    )
    if outlook.is_stable:
        message = words.learning_rate_above_best(numbers, evidence.whole)
    else:
        message = words.learning_rate_too_large(numbers, diverged=diverged)
    return cause("learning_rate_too_large", message, numbers, share)


def too_small(evidence: Evidence) -> Cause | None:
    """`learning_rate_too_small`: a larger one ends nearer."""
    best = _best(evidence)
    share = 0.0 if best is None else evidence.share(best.gap)
    if best is None or not counts(share):
        return None
    found = evidence.foreseen(evidence.with_optimizer(learning_rate=best.rate), FURTHER)
    numbers = known(
        learning_rate=evidence.first_rate,
        best_learning_rate=best.rate,
        gap_with_best=best.gap,
        steps_needed=None if found is None else found.steps_to[ARRIVED],
    )
    message = words.learning_rate_too_small(numbers, evidence.whole)
    return cause("learning_rate_too_small", message, numbers, share)


class _Tried(NamedTuple):
    """A learning rate, and the gap that it leaves after as many steps."""

    rate: float
    gap: float


def _best(evidence: Evidence) -> _Tried | None:
    """The best larger rate; where no closed form says it, the first of some that the next one is no better than."""
    first, best = evidence.first_rate, evidence.outlook.best_learning_rate
    if isinstance(evidence.setting.solver.optimizer, Sgd):
        gap = evidence.gap_with_best_rate if best is not None and best > first else None
        return None if best is None or gap is None else _Tried(best, gap)
    found: _Tried | None = None
    for rate in (times * first for times in _TIMES):
        gap = evidence.gap_of(evidence.with_optimizer(learning_rate=rate))
        if gap is None or (found is not None and not gap < found.gap):
            break
        found = _Tried(rate, gap)
    return found


def schedule(evidence: Evidence) -> Cause | None:
    """`learning_rate_schedule`: the rate dies out before the descent arrives."""
    first, last = evidence.first_rate, evidence.last_rate
    if not last < first:
        return None
    gap = evidence.gap_of(evidence.with_optimizer(learning_rate=first))
    share = evidence.share(gap)
    if not counts(share):
        return None
    numbers = known(first_learning_rate=first, last_learning_rate=last, gap_without=gap)
    return cause("learning_rate_schedule", words.learning_rate_schedule(numbers, evidence.whole), numbers, share)


def out_of_range(evidence: Evidence) -> Cause | None:
    """`numbers_out_of_range`: it diverged, and not because of the learning rate."""
    if evidence.end.kind != "diverged" or not evidence.outlook.is_stable:
        return None
    dtype = evidence.setting.solver.dtype
    numbers = known(steps=evidence.end.steps, largest=np.finfo(dtype).max)
    return cause("numbers_out_of_range", words.numbers_out_of_range(numbers, dtype), numbers, 1.0)
