import numpy as np
import pytest

from service.fitting.descent.start import GlorotUniform, Normal, Zeros, draw


def test_zeros() -> None:
    np.testing.assert_array_equal(draw(Zeros(), 0, 2, 3, intercept=True), np.zeros((3, 3)))


@pytest.mark.parametrize("start", [GlorotUniform(), Normal(0.5)])
def test_random_starts_come_from_the_seed_alone_and_leave_the_intercept_at_zero(start: GlorotUniform | Normal) -> None:
    one = draw(start, 7, 4, 2, intercept=True)
    np.testing.assert_array_equal(one, draw(start, 7, 4, 2, intercept=True))
    assert (one != draw(start, 8, 4, 2, intercept=True))[1:].all()
    np.testing.assert_array_equal(one[0], 0.0)
    np.testing.assert_array_equal(one[1:], draw(start, 7, 4, 2, intercept=False))


def test_glorot_fills_its_interval() -> None:
    weights = draw(GlorotUniform(), 1, 500, 500, intercept=False)
    reach = np.sqrt(6.0 / 1000)
    assert -reach <= weights.min() < -0.999 * reach
    assert 0.999 * reach < weights.max() <= reach


def test_normal_has_its_standard_deviation() -> None:
    weights = draw(Normal(0.05), 1, 500, 500, intercept=False)
    assert weights.std() == pytest.approx(0.05, rel=0.01)
