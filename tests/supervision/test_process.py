"""How soon a process that keeps ending is started again, and when that is given up."""

import pytest

from service.supervision.process import Deaths


def _after(*times: float) -> Deaths:
    deaths = Deaths(limit=5, within=30.0)
    for moment in times:
        deaths.record(moment)
    return deaths


@pytest.mark.parametrize(
    ("times", "expected"), [((), 0.0), ((0,), 0.1), ((0, 1), 0.2), ((0, 1, 2, 3), 0.8), ((-100, 0), 0.1)]
)
def test_the_delay_doubles_with_each_recent_end(times: tuple[float, ...], expected: float) -> None:
    assert _after(*times).delay(5.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("times", "expected"), [((0, 1, 2, 3), False), ((0, 1, 2, 3, 4), True), ((-40, 1, 2, 3, 4), False)]
)
def test_five_ends_in_half_a_minute_are_too_many(times: tuple[float, ...], *, expected: bool) -> None:
    assert _after(*times).too_many(5.0) is expected
