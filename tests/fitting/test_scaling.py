from typing import Any, get_args

import numpy as np
import pytest
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.scaling import CENTRING, Scaling, ScalingKind, Units, measure

STREAM = np.random.default_rng(3)
X = np.column_stack([STREAM.normal(1e6, 1.0, 40), STREAM.uniform(-1e-4, 1e-4, 40), np.full(40, 0.1)])


KINDS: tuple[ScalingKind, ...] = get_args(ScalingKind)
SCALERS = [
    ("standard", StandardScaler()),
    ("minmax", MinMaxScaler()),
    ("maxabs", MaxAbsScaler()),
    ("robust", RobustScaler()),
]


@pytest.mark.parametrize(("kind", "scaler"), SCALERS, ids=KINDS[1:])
def test_scaled_columns_are_scikit_learns(kind: ScalingKind, scaler: Any) -> None:
    np.testing.assert_allclose(measure(kind, X).apply(X), scaler.fit_transform(X), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 1000, 1001])
def test_maxabs_and_robust_are_scikit_learns_to_the_last_bit(rows: int) -> None:
    columns = np.random.default_rng(rows).standard_cauchy((rows, 5)) * [1.0, 1e-9, 1e300, -1e5, 0.0]
    largest, robust = MaxAbsScaler().fit(columns), RobustScaler().fit(columns)
    np.testing.assert_array_equal(measure("maxabs", columns).spread, largest.scale_)
    np.testing.assert_array_equal(measure("maxabs", columns).centre, 0.0)
    np.testing.assert_array_equal(measure("robust", columns).centre, robust.center_)
    np.testing.assert_array_equal(measure("robust", columns).spread, robust.scale_)


def test_a_column_with_as_good_as_no_middle_half_is_scaled_as_scikit_learn_does() -> None:
    column = np.append(np.full(9, 4.0), 1e9)[:, None]
    np.testing.assert_array_equal(measure("robust", column).apply(column), RobustScaler().fit_transform(column))


@pytest.mark.parametrize("size", [1e300, 8e307, 1e-300, 5e-324])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_next_to_the_ends_of_float64_are_scaled_to_numbers_near_one(kind: ScalingKind, size: float) -> None:
    column = size * np.array([[0.0], [2.0], [1.0], [2.0], [1.0]])
    scaled = measure(kind, column).apply(column)
    assert np.isfinite(scaled).all()
    if kind != "none":
        assert 0.5 <= np.abs(scaled).max() <= 2.0


@pytest.mark.parametrize("kind", KINDS)
def test_powers_are_scaled_each_by_itself(kind: ScalingKind, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.hstack([X, X**2, X**3])
    whole = measure(kind, columns)
    # A few numbers at once, so that blocks of columns are met too.
    monkeypatch.setattr("service.fitting.scaling._BLOCK_NUMBERS", 2 * len(X))
    powers = measure(kind, X, degree=3)
    np.testing.assert_array_equal(powers.centre, whole.centre)
    np.testing.assert_array_equal(powers.spread, whole.spread)


def test_a_constant_column_is_not_blown_up() -> None:
    for kind in CENTRING:
        scale = measure(kind, X)
        assert scale.spread[2] == 1.0
        assert np.abs(scale.apply(X)[:, 2]).max() < 1e-15


@pytest.mark.parametrize("features", KINDS)
@pytest.mark.parametrize("targets", KINDS)
def test_parameters_predict_the_same_in_both_units(features: ScalingKind, targets: ScalingKind) -> None:
    y = np.column_stack([X[:, 0] * 2 + 5, X[:, 1] * 1e4 - 3])
    units = Units(measure(features, X), measure(targets, y), intercept=True)
    scaled = np.random.default_rng(5).normal(size=(4, 2))
    user = units.to_user(scaled)
    in_scaled = scaled[0] + units.features.apply(X) @ scaled[1:]
    in_user = user[0] + X @ user[1:]
    np.testing.assert_allclose(units.targets.apply(in_user), in_scaled, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(units.to_scaled(user), scaled, rtol=1e-7, atol=1e-7)


def test_units_keep_leading_axes() -> None:
    units = Units(measure("standard", X[:, :2]), measure("none", X[:, :1]), intercept=True)
    many = np.random.default_rng(7).normal(size=(5, 3, 1))
    np.testing.assert_array_equal(units.to_user(many)[2], units.to_user(many[2]))


def _without_intercept(scaling: Scaling) -> Problem:
    dataset = Dataset.from_columns({"x": [1, 2, 3], "y": [1, 2, 4]})
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=False), scaling)


@pytest.mark.parametrize("kind", CENTRING)
@pytest.mark.parametrize("part", ["features", "targets"])
def test_centring_needs_an_intercept(kind: ScalingKind, part: str) -> None:
    with pytest.raises(InvalidProblem) as refused:
        _without_intercept(Scaling(**{part: kind}))
    assert refused.value.place == ("scaling", part)
    assert "'maxabs'" in refused.value.allowed


def test_what_does_not_centre_needs_none() -> None:
    units = _without_intercept(Scaling("maxabs", "maxabs")).units
    np.testing.assert_array_equal(units.to_user(np.array([[1.0]])), [[4.0 / 3.0]])
