"""What is said of the end of a descent: `diagnose(setting, end, recording, means, explain) -> Diagnosis`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from service.fitting.descent.setting import Setting
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause, Diagnosis, Remedy
from service.fitting.diagnosis.broadcast import shape_mistake
from service.fitting.diagnosis.causes import (
    adaptive,
    batches,
    bookkeeping,
    geometry,
    learning_rate,
    memory,
    optimizer,
    precision,
    progress,
)
from service.fitting.diagnosis.causes.evidence import Evidence, cause, known
from service.fitting.diagnosis.end import End, Explanation, Means
from service.fitting.diagnosis.registry import RANK
from service.fitting.diagnosis.remedies import remedies
from service.fitting.recording import Recording

#: What may share in a gap.
_OF_A_GAP: tuple[Callable[[Evidence], Cause | None], ...] = (
    learning_rate.too_large,
    learning_rate.out_of_range,
    learning_rate.too_small,
    learning_rate.schedule,
    optimizer.weight_decay,
    optimizer.penalty,
    optimizer.clipping,
    optimizer.running_mean,
    geometry.unscaled,
    geometry.collinear,
    batches.fixed_order_bias,
    batches.carried_gap,
    batches.noise_floor,
    adaptive.step_floor,
    precision.floor,
    progress.stopped_early,
    progress.too_few_steps,
)
#: What is said whether there is a gap or not.
_OF_ANY_END: tuple[Callable[[Evidence], Cause | None], ...] = (
    bookkeeping.agrees,
    geometry.not_identified,
    memory.start_remembered,
    bookkeeping.loss_before_update,
)


# What leaves float64 is data here: it comes out as inf or NaN, which causes say as None.
@np.errstate(all="ignore")
def diagnose(
    setting: Setting, end: End, recording: Recording, means: Means, explain: Sequence[Explanation] = ()
) -> Diagnosis:
    """Directions, causes in the order of their shares, and remedies.

    Parameters
    ----------
    recording
        As it was asked for with the descent.
    explain
        What is to be explained beside what explains itself.
    """
    evidence = Evidence(setting, end, means, setting.account(recording))
    causes = sorted(_causes(evidence, explain), key=lambda found: (-found.share, RANK[found.code]))
    proposed = () if evidence.agrees else remedies(setting, end, causes, means)
    return Diagnosis(evidence.directions, tuple(_with_remedy(found, proposed) for found in causes), proposed)


def _causes(evidence: Evidence, explain: Sequence[Explanation]) -> Iterator[Cause]:
    accounted = evidence.agrees
    for look in _OF_ANY_END if evidence.agrees else (*_OF_A_GAP, *_OF_ANY_END):
        if (found := look(evidence)) is not None:
            accounted = accounted or found.share > 0.0
            yield found
    if not accounted:
        numbers = known(gap=evidence.gap)
        yield cause("unexplained", words.unexplained(numbers), numbers, 1.0)
    if "broadcast" in explain:
        yield shape_mistake(evidence.setting, evidence.end, evidence.account, evidence.means.simulate)


def _with_remedy(found: Cause, proposed: Sequence[Remedy]) -> Cause:
    number = next((remedy.number for remedy in proposed if found.code in remedy.causes), None)
    return replace(found, remedy=number)
