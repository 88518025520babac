"""What is shown of a descent while it runs: few rows, whenever it ends."""

import numpy as np
import pytest

from service.fitting.arrays import IntArray
from service.fitting.descent.glimpses import Glimpses
from service.fitting.recording import RecordedSteps
from tests.fitting.trajectories import trajectory

_LAYOUT = np.dtype([("step", "<i8")])


def _shown(steps: RecordedSteps, at: IntArray, blocks: int) -> IntArray:
    """The steps that are shown of a recording of these, looked at in so many blocks."""
    glimpses = Glimpses(steps, _LAYOUT.itemsize)
    for block in np.array_split(at, blocks):
        glimpses.keep(block.astype(_LAYOUT))
    return np.concatenate([records["step"] for records in glimpses.take()])


@pytest.mark.parametrize("into", [0, 2])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("total", [1, 63, 600, 10_000, 1_000_000])
def test_however_it_is_looked_at_the_same_few_rows_are_shown(total: int, stride: int, into: int) -> None:
    steps = RecordedSteps(stride, into if stride > into else 0, total * stride, 10**9)
    at = np.append(0, steps.regular(0, total * stride))
    shown = _shown(steps, at, 1)
    np.testing.assert_array_equal(_shown(steps, at, 7), shown)
    np.testing.assert_array_equal(_shown(steps, at, min(len(at), 400)), shown)
    assert min(total, 256) <= len(shown) <= 1000
    assert len(np.unique(shown)) == len(shown)


@pytest.mark.parametrize("ended", [100, 1_000, 10_000, 1_000_000])
def test_a_descent_that_ends_long_before_its_steps_are_taken_was_seen(ended: int) -> None:
    steps = RecordedSteps(1, 0, 10**15, 10**15)
    shown = _shown(steps, np.arange(ended + 1), 3)
    assert min(ended, 64) <= np.count_nonzero(shown <= 1000)
    assert len(shown) >= 80
    # None is far from the next, as far as it has got.
    assert (np.diff(shown) <= np.maximum(shown[1:] // 16, 1)).all()


def test_any_number_of_steps_are_few_rows() -> None:
    steps = RecordedSteps(1, 0, 10**15, 10**15)
    # As a thinned recording has them: spaced by a power of two that grows.
    at = np.concatenate([np.arange(1024) if k == 10 else 2 ** (k - 10) * np.arange(512, 1024) for k in range(10, 51)])
    assert len(_shown(steps, at[at < 10**15], 50)) < 2000


def test_wide_rows_are_fewer() -> None:
    steps = RecordedSteps(1, 0, 100_000, 10**9)
    glimpses = Glimpses(steps, 1 << 16)
    glimpses.keep(np.arange(100_001).astype(_LAYOUT))
    [shown] = glimpses.take()
    assert 32 <= len(shown) <= 100


def test_rows_without_parameters_say_the_same() -> None:
    whole = trajectory(20)
    bare = whole.without_parameters()
    assert not bare.account.keeps_parameters
    assert bare.original.coefficients is None
    for name in ("loss", "gap", "batch_loss", "epoch_loss", "epoch_rmse"):
        np.testing.assert_array_equal(getattr(bare.original, name), getattr(whole.original, name))
        assert bare.scaled is not None
        assert whole.scaled is not None
        np.testing.assert_array_equal(getattr(bare.scaled, name), getattr(whole.scaled, name))
    np.testing.assert_array_equal(bare.gradient_norm, whole.gradient_norm)
    assert bare.without_parameters() is bare
    assert len(bare.account.to_bytes()) < len(whole.account.to_bytes())
