"""The floor that rounding sets, against what really run fits come down to."""

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.precision import precision_floor
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Precision
from tests.fitting.diagnosis.linear_problems import foreseen, really, setting_of

#: By how much the floor may be below what is measured, and above.
BELOW, ABOVE = 3.0, 30.0


def _problem(seed: int, rows: int, features: int, condition: float, noise: float, scaling: Scaling) -> Problem:
    """The features have exactly this condition; rounded to float32 if there is no noise."""
    stream = np.random.default_rng(seed)
    left, _ = np.linalg.qr(stream.normal(size=(rows, features)))
    right, _ = np.linalg.qr(stream.normal(size=(features, features)))
    x = rows**0.5 * left @ (np.geomspace(1.0, 1.0 / condition, features)[:, None] * right)
    if noise == 0.0:
        x = x.astype(np.float32).astype(np.float64)
    y = x @ stream.normal(size=features) + noise * stream.normal(size=rows) + 1.0
    dataset = Dataset.from_arrays(x, y)
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), scaling)


def _setting(problem: Problem, batch_size: int | None, momentum: float, dtype: Precision) -> Setting:
    """At a moderate rate, for forty times as many steps as the slowest gap takes to shrink by e."""
    largest, *_, least = setting_of(problem, Descent()).spectrum.eigenvalues
    rate = {None: 1.0, 10: 0.3, 1: 0.05}[batch_size] * (1.0 - momentum) / largest
    steps = 40.0 * max((1.0 - momentum) / (rate * least), 1.0 / (1.0 - momentum))
    epochs = int(steps / (problem.dataset.rows / batch_size if batch_size else 1)) + 100
    return setting_of(
        problem, Descent(optimizer=Sgd(float(rate), momentum), batch_size=batch_size, epochs=epochs, dtype=dtype)
    )


def _measured(setting: Setting) -> float:
    """The distance to where the descent would lead without rounding: the middle one of the last rows."""
    limit = foreseen(setting).limit
    assert limit is not None
    units = setting.problem.units
    coefficients = really(setting, Recording("epoch", limit=50)).trajectory.original.coefficients
    assert coefficients is not None
    away: FloatArray = coefficients[-8:] - units.to_user(limit)
    return float(np.median(np.linalg.norm(away.reshape(8, -1), axis=1)))


@pytest.mark.parametrize("condition", [1.0, 10.0, 30.0])
@pytest.mark.parametrize(("batch_size", "momentum"), [(None, 0.0), (None, 0.9), (10, 0.0), (1, 0.0)])
@pytest.mark.parametrize(
    ("rows", "features", "noise", "scaling"),
    [
        (50, 2, 0.1, Scaling()),
        (500, 4, 0.1, Scaling()),
        (500, 3, 10.0, Scaling("standard", "standard")),
        (200, 3, 0.0, Scaling()),
    ],
)
def test_float32_comes_down_to_the_floor(
    rows: int,
    features: int,
    noise: float,
    scaling: Scaling,
    batch_size: int | None,
    momentum: float,
    condition: float,
) -> None:
    setting = _setting(_problem(rows, rows, features, condition, noise, scaling), batch_size, momentum, "float32")
    floor, measured = precision_floor(setting, foreseen(setting)), _measured(setting)
    assert measured / BELOW <= floor <= measured * ABOVE


@pytest.mark.parametrize("condition", [3.0, 10.0])
def test_float64_has_a_floor_of_the_same_kind(condition: float) -> None:
    """Of what is too large to be computed in closed form."""
    problem = _problem(1, 3000, 19, condition, 0.1, Scaling())
    floors: dict[Precision, float] = {}
    precisions: tuple[Precision, ...] = ("float32", "float64")
    for dtype in precisions:
        setting = _setting(problem, None, 0.0, dtype)
        floors[dtype] = precision_floor(setting, foreseen(setting))
        assert _measured(setting) / BELOW <= floors[dtype] <= _measured(setting) * ABOVE
    assert floors["float32"] / floors["float64"] == pytest.approx(2.0**29, rel=0.5)


def test_a_smaller_rate_loses_more() -> None:
    problem = _problem(2, 100, 3, 10.0, 0.1, Scaling())
    floors = []
    for rate in (0.1, 0.01):
        setting = setting_of(problem, Descent(optimizer=Sgd(rate), dtype="float32"))
        floors.append(precision_floor(setting, foreseen(setting)))
    assert floors[1] / floors[0] == pytest.approx(10.0, rel=0.1)


def test_numbers_that_leave_float64_have_one_too() -> None:
    dataset = Dataset.from_arrays(1e200 * np.arange(4.0)[:, None], np.arange(4.0))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    setting = setting_of(problem, Descent(dtype="float32"))
    assert not precision_floor(setting, foreseen(setting)) < 0.0
