import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling, ScalingKind, Units, measure

STREAM = np.random.default_rng(3)
X = np.column_stack([STREAM.normal(1e6, 1.0, 40), STREAM.uniform(-1e-4, 1e-4, 40), np.full(40, 0.1)])


@pytest.mark.parametrize(("kind", "scaler"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())])
def test_scaled_columns_are_scikit_learns(kind: ScalingKind, scaler: StandardScaler | MinMaxScaler) -> None:
    np.testing.assert_allclose(measure(kind, X).apply(X), scaler.fit_transform(X), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["none", "standard", "minmax"])
def test_powers_are_scaled_each_by_itself(kind: ScalingKind, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.hstack([X, X**2, X**3])
    whole = measure(kind, columns)
    # A few numbers at once, so that blocks of columns are met too.
    monkeypatch.setattr("service.fitting.scaling._BLOCK_NUMBERS", 2 * len(X))
    powers = measure(kind, X, degree=3)
    np.testing.assert_array_equal(powers.centre, whole.centre)
    np.testing.assert_array_equal(powers.spread, whole.spread)


def test_a_constant_column_is_not_blown_up() -> None:
    for kind in ("standard", "minmax"):
        scale = measure(kind, X)
        assert scale.spread[2] == 1.0
        assert np.abs(scale.apply(X)[:, 2]).max() < 1e-15


@pytest.mark.parametrize("features", ["none", "standard", "minmax"])
@pytest.mark.parametrize("targets", ["none", "standard", "minmax"])
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


@pytest.mark.parametrize("scaling", [Scaling("standard"), Scaling("none", "minmax")])
def test_centring_needs_an_intercept(scaling: Scaling) -> None:
    dataset = Dataset.from_columns({"x": [1, 2, 3], "y": [1, 2, 4]})
    with pytest.raises(InvalidProblem) as refused:
        Problem(dataset, resolve_model(dataset.names, None, None, intercept=False), scaling)
    assert refused.value.place[0] == "scaling"
