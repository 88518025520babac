"""Which steps are recorded, worked out from their definition."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fitting.recording import RecordedSteps, Recording, recorded_steps


def _kept(steps: RecordedSteps, *cuts: int) -> list[int]:
    """Those that are kept, asked for block by block."""
    bounds = [-1, *cuts, steps.total_steps]
    return [int(step) for after, up_to in pairwise(bounds) for step in steps.kept(after, up_to)]


@pytest.mark.parametrize(
    ("recording", "total", "per_epoch", "expected"),
    [
        (Recording("step"), 4, 2, [0, 1, 2, 3, 4]),
        (Recording("epoch"), 4, 2, [0, 2, 4]),
        (Recording("epoch"), 5, 2, [0, 2, 4, 5]),
        (Recording(3), 10, 2, [0, 3, 6, 9, 10]),
        (Recording(30), 10, 2, [0, 10]),
        (Recording("step", limit=3), 10, 1, [0, 5, 10]),
        (Recording("step", limit=2), 10, 1, [0, 10]),
    ],
)
def test_the_steps_that_are_kept(recording: Recording, total: int, per_epoch: int, expected: list[int]) -> None:
    steps = recorded_steps(recording, total, per_epoch)
    assert _kept(steps) == expected
    assert steps.rows == len(expected)


def test_epochs_that_were_begun_before_end_where_the_plan_says() -> None:
    assert _kept(recorded_steps(Recording("epoch"), 12, 5, into_epoch=3)) == [0, 2, 7, 12]
    assert _kept(recorded_steps(Recording(5), 12, 5, into_epoch=3)) == [0, 5, 10, 12]


lengths = st.builds(
    lambda stride, into, total, limit: RecordedSteps(stride, into % stride, total, limit),
    st.integers(1, 12),
    st.integers(0, 11),
    st.integers(1, 300),
    st.integers(2, 60),
)


@given(steps=lengths, cuts=st.lists(st.integers(0, 300), max_size=4))
def test_blocks_of_steps_make_up_the_whole(steps: RecordedSteps, cuts: list[int]) -> None:
    total, limit = steps.total_steps, steps.limit
    regular = [t for t in range(total + 1) if t in (0, total) or (t + steps.into) % steps.stride == 0]
    last = len(regular) - 1
    evenly = regular if last < limit else [regular[k * last // (limit - 1)] for k in range(limit)]
    inside = sorted(cut for cut in cuts if cut < total)
    bounds = [-1, *inside, total]
    pairs = list(pairwise(bounds))
    assert _kept(steps, *inside) == evenly
    assert [t for pair in pairs for t in steps.regular(*pair).tolist()] == regular
    assert [t for pair in pairs for t in steps.every_nth(3, *pair).tolist()] == regular[::3]
    assert [t for after, up_to in pairs for t in steps.regular_range(max(after, 0), up_to)] == [
        t for t in regular[1:] if (t + steps.into) % steps.stride == 0
    ]
    assert steps.regular_among(np.arange(1, total + 1)).tolist() == regular[1:]
    assert (steps.regular_rows, steps.rows) == (len(regular), len(evenly))
    assert [t for t in regular[1:] if steps.keeps(t)] == evenly[1:]


@given(steps=lengths, up_to=st.integers(0, 300), most=st.integers(1, 20))
def test_halvings_are_as_few_as_they_can_be(steps: RecordedSteps, up_to: int, most: int) -> None:
    up_to = min(up_to, steps.total_steps)
    n = steps.halvings(up_to, most)
    assert len(steps.every_nth(n, -1, up_to)) <= most
    assert n == 1 or len(steps.every_nth(n // 2, -1, up_to)) > most


@given(
    every=st.one_of(st.sampled_from(["step", "epoch"]), st.integers(1, 10**6)),
    limit=st.integers(2, 500),
    total=st.integers(1, 10**12),
    per_epoch=st.integers(1, 10**6),
)
def test_first_and_last_are_kept_within_the_limit_and_evenly(
    every: str | int, limit: int, total: int, per_epoch: int
) -> None:
    recording = Recording(every, limit=limit)  # type: ignore[arg-type]
    chosen = recorded_steps(recording, total, per_epoch)
    steps = chosen.kept(-1, total)
    assert (steps[0], steps[-1]) == (0, total)
    assert len(steps) == chosen.rows <= limit
    gaps = np.diff(steps)
    assert gaps.min() > 0
    stride = 1 if every == "step" else per_epoch if every == "epoch" else int(every)
    # All gaps but the last, which ends wherever the descent does, differ by at most one stride.
    assert len(gaps) < 2 or gaps[:-1].max() - gaps[:-1].min() <= stride
    assert len(gaps) < 2 or gaps[:-1].min() >= chosen.spacing
