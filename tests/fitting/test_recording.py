import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fitting.recording import Recording, recorded_steps


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
    assert recorded_steps(recording, total, per_epoch).tolist() == expected


@given(
    every=st.one_of(st.sampled_from(["step", "epoch"]), st.integers(1, 10**6)),
    limit=st.integers(2, 500),
    total=st.integers(1, 10**12),
    per_epoch=st.integers(1, 10**6),
)
def test_first_and_last_are_kept_within_the_limit_and_evenly(
    every: str | int, limit: int, total: int, per_epoch: int
) -> None:
    steps = recorded_steps(Recording(every, limit=limit), total, per_epoch)  # type: ignore[arg-type]
    assert steps[0] == 0
    assert steps[-1] == total
    assert len(steps) <= limit
    gaps = np.diff(steps)
    assert (gaps > 0).all()
    stride = 1 if every == "step" else per_epoch if every == "epoch" else int(every)
    # All gaps but the last, which ends wherever the descent does, differ by at most one stride.
    assert len(gaps) < 2 or gaps[:-1].max() - gaps[:-1].min() <= stride
