"""The learning rates that a linear descent can bear, and the one with which its slowest gap shrinks quickest."""

from collections.abc import Callable

import numpy as np

from service.fitting.diagnosis.frame import Push

#: What is left of an interval in which the golden section is taken.
_SHARE = (np.sqrt(5.0) - 1.0) / 2.0
#: From which share of the largest stable rate on the best is sought; and of a guess, the largest stable one.
_SMALLEST, _SMALLEST_STABLE = 1.0 / 16.0, 2.0**-20
#: Rates that are tried first.
_TRIED = 10
#: Growths that rounding may have made of none.
ROUNDING = 1e-12
#: By how much one tries more, where the rate before is stable.
_MORE = 1.25

#: The log of what a step multiplies the slowest mode by, in the mean; by the learning rate.
Growth = Callable[[float], float]


def largest_stable(push: Push, largest_eigenvalue: float) -> float | None:
    """Below which the gaps along all directions shrink, by all rows; None where nothing moves.

    -1 is a root of a step's map (`decoupled`) there: 2 (1 + mu) = (1 + mu) d r + a l r with a = 1, or 1 + 2 mu after
    Nesterov.
    """
    mu = push.momentum
    leap = 1.0 + 2.0 * mu if push.nesterov else 1.0
    pulled = leap * largest_eigenvalue + (1.0 + mu) * push.weight_decay
    return 2.0 * (1.0 + mu) / pulled if pulled > 0.0 else None


def crossing(growth: Growth, near: float, precision: float) -> float | None:
    """The rate at which a growth, below 0 for small rates, comes to 0 first; None where it is nowhere below 0.

    By halving from `near` down to a stable rate, then up by quarters to the first that is not, then between the two by
    regula falsi (the Illinois algorithm).
    """
    low = near
    while not (below := growth(low)) < 0.0:
        low /= 2.0
        if low < _SMALLEST_STABLE * near:
            return None
    high = _MORE * low
    while (above := growth(high)) < 0.0:
        low, below, high = high, above, _MORE * high
    while high - low > precision * high:
        between = (low * above - high * below) / (above - below)
        inside = precision * high / 2.0
        between = min(max(between, low + inside), high - inside)
        if (value := growth(between)) < 0.0:
            low, below, above = between, value, above / 2.0
        else:
            high, above, below = between, value, below / 2.0
    return low


def quickest(growth: Growth, largest: float, precision: float) -> float:
    """The rate below the largest stable one with the least growth.

    Evenly spaced ones are tried, and between the neighbours of the best of them the golden section is taken. The
    largest of such rates, where growths that differ by `ROUNDING` count as the same.
    """
    tried = np.linspace(np.log(_SMALLEST * largest), np.log(largest), _TRIED)
    growths = np.nan_to_num([growth(float(rate)) for rate in np.exp(tried)], nan=np.inf)
    best = int(np.flatnonzero(growths <= growths.min() + ROUNDING).max(initial=0))
    low, high = float(tried[max(best - 1, 0)]), float(tried[min(best + 1, _TRIED - 1)])

    def at(share: float) -> tuple[float, float]:
        rate = low + share * (high - low)
        return rate, growth(float(np.exp(rate)))

    left, right = at(1.0 - _SHARE), at(_SHARE)
    while high - low > precision:
        if left[1] < right[1] - ROUNDING:
            high, right = right[0], left
            left = at(1.0 - _SHARE)
        else:
            low, left = left[0], right
            right = at(_SHARE)
    return float(np.exp(low))
