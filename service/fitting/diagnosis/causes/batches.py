"""What batches do that all rows at once would not."""

from math import hypot

import numpy as np

from service.fitting.arrays import FloatArray, length
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts, known
from service.fitting.diagnosis.linear import is_linear
from service.fitting.diagnosis.outlook import FURTHER


def fixed_order_bias(evidence: Evidence) -> Cause | None:
    """`fixed_batch_order_bias`: the limit is not the reference."""
    bias = _bias(evidence)
    share = 0.0 if bias is None else evidence.share_of(bias)
    if bias is None or not counts(share):
        return None
    numbers = known(bias=length(bias), batch_size=evidence.setting.plan.batch_size)
    return cause("fixed_batch_order_bias", words.fixed_batch_order_bias(numbers), numbers, share)


def carried_gap(evidence: Evidence) -> Cause | None:
    """`gap_carried_by_batches`: what is left on the way to the limit would not be there by all rows."""
    bias = _bias(evidence)
    if bias is None:
        return None
    gap = evidence.gap_of(evidence.instead(batch_size=None))
    share = 0.0 if gap is None else evidence.share(gap + length(bias))
    if not counts(share):
        return None
    slowest = evidence.slowest
    numbers = known(
        batch_size=evidence.setting.plan.batch_size,
        half_life_steps=None if slowest is None else slowest.half_life_steps,
        gap_by_all_rows=gap,
    )
    terms = () if slowest is None else evidence.named_terms(slowest)
    along = None if slowest is None else words.direction(slowest.name, terms)
    message = words.gap_carried_by_batches(numbers, along, evidence.whole)
    return cause("gap_carried_by_batches", message, numbers, share, terms)


def _bias(evidence: Evidence) -> FloatArray | None:
    """(m, q) the limit of batches in a fixed order less that of all rows, flat directions apart; the user's units.

    None where the order is not fixed, or nobody can say.
    """
    outlook, plan = evidence.outlook, evidence.setting.plan
    if outlook.limit is None or plan.reshuffles or plan.steps_per_epoch == 1:
        return None
    place = _limit_of_all_rows(evidence)
    return None if place is None else evidence.steep_part(outlook.limit - place)


def _limit_of_all_rows(evidence: Evidence) -> FloatArray | None:
    """(m, q) in descent's units: the reference, but for optimizers that may lead to somewhere else."""
    if is_linear(evidence.setting) and not evidence.setting.solver.optimizer.weight_decay:
        return evidence.reference
    found = evidence.foreseen(evidence.instead(batch_size=None), FURTHER)
    return None if found is None else found.limit


def noise_floor(evidence: Evidence) -> Cause | None:
    """`minibatch_noise_floor`: where it ends hangs on the order of the rows."""
    outlook = evidence.outlook
    sd = length(outlook.end_sd)
    if sd == 0.0:
        return None
    mean = hypot(evidence.exact_gap(evidence.setting, outlook.end, np.zeros_like(outlook.end_sd)), evidence.floor)
    share = evidence.share(mean)
    if not counts(share):
        return None
    numbers = known(
        sd=sd,
        sd_in_the_limit=None if outlook.limit is None else length(outlook.limit_sd),
        gap_of_mean=mean,
        batch_size=evidence.setting.plan.batch_size,
    )
    return cause("minibatch_noise_floor", words.minibatch_noise_floor(numbers), numbers, share)
