"""The simulation behind docs/capacity.md beside a real service: fits that come at random wait as long as it says."""

import pytest

from benchmarks.queueing import CHECKED_LOAD, checked

pytestmark = pytest.mark.long

#: Beyond the bounds that chance explains: cores that somebody else has, too, take turns of their own.
MARGIN = 1.5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_real_queue_waits_as_the_simulated_one_does(workers: int) -> None:
    check = checked(workers)
    assert check.load == pytest.approx(CHECKED_LOAD, abs=0.25)
    assert check.mean[0] / MARGIN <= check.measured_mean <= check.mean[2] * MARGIN, check
    assert check.p90[0] / MARGIN <= check.measured_p90 <= check.p90[2] * MARGIN, check
