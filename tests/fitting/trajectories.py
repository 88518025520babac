"""Trajectories made by hand, of which it is easy to say what they say."""

import numpy as np

from service.fitting.arrays import IntArray
from service.fitting.descent.account import Account, Optimum
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.schedules import LearningRate
from service.fitting.scaling import Scale, Units
from service.fitting.trajectory import Trajectory

TERMS = ("(intercept)", 'x "quoted", even')
#: What the user's units of the target are in descent's.
_SPREAD = 0.01


def account(
    steps: int,
    *,
    keeps_parameters: bool = True,
    is_penalised: bool = False,
    learning_rate: LearningRate = 0.01,
    precision: str = "float64",
) -> Account:
    """Of a descent over two rows, all at once, whose optimum is 0 and whose loss is |W|^2 / 2."""
    none = np.zeros((2, 1))
    return Account(
        terms=TERMS,
        targets=("y",),
        plan=BatchPlan(2, 2, 1, steps, shuffle=False, seed=0),
        loss="mse",
        units=Units(Scale(np.zeros(1), np.ones(1)), Scale(np.zeros(1), np.full(1, _SPREAD)), intercept=True),
        is_scaled=True,
        is_penalised=is_penalised,
        keeps_parameters=keeps_parameters,
        optimum=Optimum(none, 0.0, none, 0.0, np.eye(2)),
        learning_rate=learning_rate,
        earlier=0,
        precision=precision,
    )


def trajectory(steps: int, at: IntArray | None = None) -> Trajectory:
    """Every step, or those in `at`: with s the step, coefficients s and -s, loss s^2 and batch_loss s.

    In descent's units the coefficients are 100 times as large, losses 10 000 times.
    """
    whole = account(steps)
    step = np.arange(steps + 1) if at is None else at
    records = np.zeros(len(step), whole.layout)
    records["step"] = step
    records["batch_squares"][:, 0, 0] = records["epoch_squares"][:, 0, 0] = 2.0 * step / _SPREAD**2
    records["parameters"][:, 0, 0], records["parameters"][:, 1, 0] = step / _SPREAD, -step / _SPREAD
    return Trajectory(whole, records)
