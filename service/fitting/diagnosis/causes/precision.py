"""What rounding does."""

from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts, known


def floor(evidence: Evidence) -> Cause | None:
    """`float32_floor` or `float64_floor`: what the steps would leave without rounding is less than what they left.

    No more is put down to it than the floor itself.
    """
    dtype, found = evidence.setting.solver.dtype, evidence.unrounded
    if found is None:
        return None
    exact = evidence.exact_gap(evidence.setting, found.end, found.end_sd)
    share = evidence.share(max(exact, evidence.whole - evidence.floor))
    if not counts(share):
        return None
    numbers = known(floor=evidence.floor, gap_in_exact_arithmetic=exact)
    message = words.precision_floor(numbers, dtype, evidence.agreement, evidence.whole)
    return cause(f"{dtype}_floor", message, numbers, share)
