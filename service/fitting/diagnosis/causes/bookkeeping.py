"""That a fit agrees; and what is printed, which is not what it seems."""

import numpy as np

from service.fitting.comparison import matching_digits
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, known

#: Relative to the larger one: losses that differ by more are said.
_LOSSES_DIFFER = 1e-3
#: Of the loss at the start: what is smaller is as good as 0, and its digits are those of rounding.
_NO_LOSS = 1e-12
#: Coefficients smaller than that beside their target's largest one do not count for the digits.
_SMALL = 1e-3


def agrees(evidence: Evidence) -> Cause | None:
    """`agrees`."""
    if not evidence.agrees:
        return None
    reference = evidence.setting.optimum.parameters
    digits = matching_digits(evidence.end.estimate, reference)
    sizes = np.abs(reference)
    matter = sizes >= _SMALL * sizes.max(axis=0)
    numbers = known(gap=evidence.gap, digits=digits[matter].min())
    return cause("agrees", words.agrees(numbers), numbers)


def loss_before_update(evidence: Evidence) -> Cause | None:
    """`loss_is_before_update`: what was printed is not the loss of the final weights."""
    printed, loss = evidence.end.printed, evidence.end.loss
    if printed is None:
        return None
    losses = (printed.epoch_loss, printed.batch_loss)
    differ = any(abs(other - loss) > _LOSSES_DIFFER * max(other, loss) for other in losses)
    at_start = evidence.account.loss_of(evidence.setting.beginning.state.parameters)
    if not differ or max(*losses, loss) <= _NO_LOSS * at_start:
        return None
    numbers = known(epoch_loss=printed.epoch_loss, batch_loss=printed.batch_loss, loss=loss)
    return cause("loss_is_before_update", words.loss_is_before_update(numbers), numbers)
