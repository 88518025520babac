"""What a descent will do, worked out without running it: `outlook(setting, simulate) -> Outlook`."""

import math

import numpy as np

from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.linear import has_closed_form, is_linear, linear_outlook
from service.fitting.diagnosis.shuffled import shuffled_outlook
from service.fitting.diagnosis.simulated import simulated_outlook
from service.fitting.diagnosis.simulation import Simulate

#: How many times as many steps as the plan has a finished fit is followed, where its steps are taken one by one.
FURTHER = 20.0


# What leaves float64 is data here: it comes out as inf or NaN.
@np.errstate(all="ignore")
def outlook(setting: Setting, simulate: Simulate, further: float = math.inf, *, ends_first: bool = False) -> Outlook:
    """In closed form where there is one, as statistics of chance where rows are shuffled, else by taking the steps.

    Parameters
    ----------
    further
        How many times as many steps as the plan has may be taken, to see where they lead. 1 is no further than the end,
        which is all that is seen then, and not said to be exact.
    ends_first
        Whether the end is looked at by itself, and what else there is to see when it is asked for.

    Raises
    ------
    TooLong
        By `simulate`, where there is nobody to take the steps, or not in time.
    """
    if is_linear(setting) and setting.plan.reshuffles:
        return shuffled_outlook(setting)
    if is_linear(setting) and has_closed_form(setting):
        return linear_outlook(setting)
    return simulated_outlook(setting, simulate, further, ends_first=ends_first)
