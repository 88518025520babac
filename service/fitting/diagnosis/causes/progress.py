"""How far a descent has come: too few steps, or fewer than were asked for."""

from math import hypot

from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import FRACTIONS, Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts, known

#: Of the gap at the start: what counts as arrived.
ARRIVED = FRACTIONS.index(1e-3)
#: Of a gap: a change that can be told from rounding.
_ROUNDING = 1e-12


def stopped_early(evidence: Evidence) -> Cause | None:
    """`stopped_early`: by a stop rule, the clock or somebody, before all steps."""
    end, asked = evidence.end, evidence.setting.plan.total_steps
    if end.kind not in ("converged", "time_limit", "cancelled") or end.steps >= asked:
        return None
    gap = evidence.gap_of(evidence.setting)
    share = evidence.share(gap)
    if not counts(share):
        return None
    numbers = known(steps=end.steps, steps_asked=asked, gap_after_all=gap)
    return cause("stopped_early", words.stopped_early(numbers, evidence.whole, end.kind), numbers, share)


def too_few_steps(evidence: Evidence) -> Cause | None:
    """`too_few_steps`: it is on its way, and more of them come nearer."""
    if evidence.end.kind == "diverged":
        return None
    outlook, gap = evidence.outlook, gap_with_more(evidence)
    share = evidence.share(gap)
    if not counts(share) or not comes_nearer(evidence):
        return None
    slowest = evidence.slowest
    numbers = known(
        steps=evidence.end.steps,
        half_life_steps=None if slowest is None else slowest.half_life_steps,
        steps_needed=outlook.steps_to[ARRIVED],
        steps_to_agree=outlook.steps_until(evidence.agreement),
        gap_with_more=gap,
    )
    along = None if slowest is None else words.direction(slowest.name, evidence.named_terms(slowest))
    message = words.too_few_steps(numbers, along, evidence.whole, followed=outlook.limit is None)
    return cause("too_few_steps", message, numbers, share)


def gap_with_more(evidence: Evidence) -> float | None:
    """After infinitely many steps; or ten times as many, or as many more as can be followed. None: nobody can say."""
    outlook = evidence.outlook
    if outlook.limit is None:
        return evidence.gap_further_on
    return hypot(evidence.exact_gap(evidence.setting, outlook.limit, outlook.limit_sd), evidence.floor_in_the_limit)


def comes_nearer(evidence: Evidence) -> bool:
    """Whether more steps begin to close the gap: a descent whose gap grows for longer than anybody waits does not."""
    gap = evidence.gap_further_on
    return gap is None or gap < (1.0 - _ROUNDING) * evidence.whole
