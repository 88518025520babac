"""Learning rates are those of Keras's own schedules."""

from itertools import pairwise

import numpy as np
import pytest

from service.fitting.descent.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay, Schedule, rates
from service.fitting.solver import Precision
from tests.fitting.descent.keras_paths import keras_schedule

SCHEDULES: tuple[Schedule, ...] = (
    ExponentialDecay(0.1, 100_000, 0.7),
    ExponentialDecay(0.1, 333, 0.999, staircase=True),
    ExponentialDecay(0.1, 7, 0.5),
    CosineDecay(0.1, 1000),
    CosineDecay(0.1, 700_000, 0.05),
    CosineDecay(0.001, 800_000, 0.1, warmup_target=0.1, warmup_steps=1000),
    CosineDecay(0.0, 1000, warmup_target=0.1, warmup_steps=7),
    CosineDecay(0.2, 1000, 0.5, warmup_target=0.1, warmup_steps=0),
    CosineDecay(0.2, 1000, 0.5, warmup_target=None, warmup_steps=50),
    PiecewiseConstantDecay((1000,), (0.1, 0.01)),
    PiecewiseConstantDecay((1, 7, 333_333), (0.1, 0.3, 0.01, 0.05)),
)
#: Every corner of the schedules above, and others at random.
STEPS = np.unique(
    np.concatenate(
        [
            corner + np.arange(-2, 3)
            for corner in (2, 7, 50, 333, 1000, 1007, 2000, 333_333, 700_000, 800_000, 801_000, 999_998)
        ]
        + [np.random.default_rng(0).integers(0, 1_000_000, 30)]
    )
)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_are_those_of_keras(schedule: Schedule, precision: Precision) -> None:
    """Up to the rounding of a power or a cosine, of which neither library says how well it does."""
    keras = keras_schedule(schedule, precision)
    expected = np.array([float(keras(step)) for step in STEPS])
    found = rates(schedule, STEPS, np.dtype(precision))
    assert found.dtype == precision
    rounding = float(np.finfo(precision).eps)
    np.testing.assert_allclose(found, expected, rtol=8 * rounding, atol=rounding * expected.max())


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("schedule", [0.01, *SCHEDULES])
def test_a_rate_depends_on_its_own_step_alone(schedule: Schedule | float, precision: Precision) -> None:
    dtype = np.dtype(precision)
    together = rates(schedule, np.arange(5000), dtype)
    cuts = [0, 1, 2, 5, 100, 1003, 1004, 4999, 5000]
    apart = [rates(schedule, np.arange(first, last), dtype) for first, last in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(apart), together)
