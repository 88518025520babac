"""What recorded rows say: the same whoever asks, in whatever company, and after being stored."""

from dataclasses import replace

import numpy as np
import pytest

from service.fitting.arrays import IntArray
from service.fitting.descent.account import Account
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.schedules import (
    CosineDecay,
    ExponentialDecay,
    LearningRate,
    PiecewiseConstantDecay,
)
from service.fitting.descent.start import GlorotUniform
from service.fitting.penalty import L2
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Precision
from service.fitting.trajectory import Losses, Trajectory
from tests.fitting.descent.problems import random_problem, solve
from tests.fitting.trajectories import account, trajectory

PLAIN = ("step", "epoch", "batch", "rows", "learning_rate", "gradient_norm")
LOSSES = ("batch_loss", "epoch_loss", "epoch_rmse", "loss", "gap")
RATES: tuple[LearningRate, ...] = (
    0.002,
    ExponentialDecay(0.002, 5, 0.5, staircase=True),
    CosineDecay(0.001, 9, 0.1, 0.002, 3),
    PiecewiseConstantDecay((3, 6), (0.001, 0.002, 0.0005)),
)


def _descended(
    features: int = 3,
    targets: int = 1,
    *,
    scaling: Scaling | None = None,
    penalty: L2 | None = None,
    dtype: Precision = "float64",
    rate: LearningRate = 0.002,
    coefficients: bool = True,
) -> Trajectory:
    problem = random_problem(4, features=features, targets=targets, scaling=scaling, weighted=True)
    descent = Descent(
        dtype=dtype, optimizer=Sgd(rate), epochs=30, batch_size=10, penalty=penalty, start=GlorotUniform()
    )
    record = solve(problem, descent, Recording("step", coefficients)).trajectory
    assert record is not None
    return record


def _assert_alike(one: Trajectory, other: Trajectory, but: tuple[str, ...] = ()) -> None:
    """The same numbers, to the last bit, but in the columns named."""
    for name in PLAIN:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    pairs: list[tuple[Losses | None, Losses | None]] = [(one.original, other.original), (one.scaled, other.scaled)]
    for ours, theirs in pairs:
        assert (ours is None) == (theirs is None)
        if ours is None:
            continue
        for name in {*LOSSES, "coefficients"} - set(but):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("features", "targets"), [(0, 1), (2, 1), (3, 4), (11, 1), (40, 2)])
@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "minmax")])
@pytest.mark.parametrize("places", [np.array([57]), np.array([0, 8, 9, 33]), np.arange(3, 90)], ids=len)
def test_a_row_says_the_same_in_any_company(
    dtype: Precision, features: int, targets: int, scaling: Scaling, places: IntArray
) -> None:
    whole = _descended(features, targets, scaling=scaling, dtype=dtype)
    part = whole.take(places)
    for name in PLAIN:
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[places], err_msg=name)
    for ours, theirs in ((part.original, whole.original), (part.scaled, whole.scaled)):
        if ours is not None:
            for name in (*LOSSES, "coefficients"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name)[places], err_msg=name)


@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "minmax")])
@pytest.mark.parametrize("penalty", [None, L2(0.3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_coefficients_rows_say_all_the_rest(scaling: Scaling, penalty: L2 | None, dtype: Precision) -> None:
    whole = _descended(targets=2, scaling=scaling, penalty=penalty, dtype=dtype)
    bare = _descended(targets=2, scaling=scaling, penalty=penalty, dtype=dtype, coefficients=False)
    assert bare.original.coefficients is None
    _assert_alike(bare, whole, but=("coefficients",))


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: getattr(rate, "kind", "constant"))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coefficients", [False, True])
def test_a_trajectory_survives_being_stored(rate: LearningRate, dtype: Precision, coefficients: bool) -> None:
    record = _descended(
        targets=2, scaling=Scaling("standard"), penalty=L2(0.3), rate=rate, dtype=dtype, coefficients=coefficients
    )
    told = Account.from_bytes(record.account.to_bytes())
    again = Trajectory(told, np.frombuffer(record.records.tobytes(), told.layout))
    assert (again.terms, again.targets, again.total_steps) == (record.terms, record.targets, record.total_steps)
    assert (again.account.plan, again.account.learning_rate) == (record.account.plan, rate)
    _assert_alike(again, record)


def test_the_rate_of_a_step_goes_by_the_updates_before_it() -> None:
    rate = ExponentialDecay(0.8, 2, 0.5, staircase=True)
    told = account(6, learning_rate=rate)
    steps = np.arange(5)
    np.testing.assert_array_equal(told.rates(steps), [np.nan, 0.8, 0.8, 0.4, 0.4])
    np.testing.assert_array_equal(replace(told, earlier=3).rates(steps), [np.nan, 0.4, 0.2, 0.2, 0.1])
    np.testing.assert_array_equal(replace(told, learning_rate=0.1, precision="float32").rates(steps)[1:], 0.1)


def test_parts_are_joined_in_ascending_order() -> None:
    whole = trajectory(9)
    stray, rest = whole.take(np.array([4])), np.delete(np.arange(10), 4)
    joined = Trajectory.joined([whole.take(rest[:6]), whole.take(rest[6:]), stray])
    np.testing.assert_array_equal(joined.records, whole.records)


def test_numbers_that_leave_float64_are_said_without_a_warning() -> None:
    told = account(3, keeps_parameters=True)
    records = np.zeros(4, told.layout)
    records["step"] = np.arange(4)
    records["parameters"] = np.array([0.0, 1e200, 1e308, -1e308])[:, None, None]
    record = Trajectory(told, records)
    assert record.original.loss.tolist() == [0.0, np.inf, np.inf, np.inf]
    assert record.original.coefficients is not None
    assert np.isfinite(record.original.coefficients).tolist() == [[[True], [True]]] * 4
    assert record.gradient_norm.tolist()[1:] == [np.inf] * 3
