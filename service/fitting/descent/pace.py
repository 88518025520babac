"""How many steps to ask an engine for at once."""

from service.fitting.descent.plan import BatchPlan

#: A block should take about this long: progress, a time limit and a cancel are seen several times a second.
BLOCK_SECONDS = 0.1
#: The first block is to take no longer than that, however slow the engine: numbers that its steps go through.
_FIRST_NUMBERS = 1 << 23
_FIRST_STEPS = 64
_MOST_GROWTH = 16.0


class Pace:
    """Lengths of blocks: as many steps as fill `BLOCK_SECONDS`, learnt from the blocks so far.

    Parameters
    ----------
    numbers
        How many numbers of the data a step may have to go through.
    longest
        Most steps at once.
    jumps
        Whether steps cost next to nothing: then it begins with the most.
    """

    def __init__(self, plan: BatchPlan, numbers: int, longest: int, *, jumps: bool = False) -> None:
        self._plan = plan
        self._longest = max(min(longest, plan.most_ordered_steps), 1)
        first = self._longest if jumps else min(max(_FIRST_NUMBERS // numbers, 1), _FIRST_STEPS)
        self._steps = float(first)

    def steps(self, step: int, seconds_left: float) -> int:
        """How many to take after `step`: whole epochs where they fit, else up to the end of the one begun."""
        plan = self._plan
        share = min(max(seconds_left / BLOCK_SECONDS, 0.01), 1.0)
        fitting = min(max(int(self._steps * share), 1), self._longest)
        to_end = plan.steps_per_epoch - (plan.into_epoch + step) % plan.steps_per_epoch
        if fitting > to_end:
            fitting = to_end + (fitting - to_end) // plan.steps_per_epoch * plan.steps_per_epoch
        return min(fitting, plan.total_steps - step)

    def learn(self, steps: int, seconds: float) -> None:
        """So many steps took so long."""
        # The first block may hold compilation: it says nothing about the pace, and growth is bounded.
        fitting = steps * BLOCK_SECONDS / max(seconds, 1e-6)
        self._steps = float(min(fitting, self._steps * _MOST_GROWTH, self._longest))
