"""Keras programs print what the service answered: run here with the real Keras, one process for each precision."""

from typing import Any, get_args

import numpy as np
import pytest

from service.fitting.descent.optimizers import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adamw,
    Ftrl,
    Lion,
    Nadam,
    Optimizer,
    Rmsprop,
    Sgd,
)
from service.fitting.descent.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay
from service.fitting.descent.start import Ended, GlorotUniform
from service.fitting.penalty import L2
from service.fitting.replay.replayed import Replayed
from service.fitting.replay.script import script
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Precision
from tests.fitting.replay.programs import estimates, random_problem, replayed, run_all

#: Keras is started for each precision, and compiles all programs.
pytestmark = pytest.mark.long

BATCHES: dict[str, Any] = {"epochs": 3, "batch_size": 9, "shuffle": True, "seed": 3, "start": GlorotUniform()}
EVERYTHING: dict[str, Any] = {"targets": 3, "weighted": True, "degree": 2, "scaling": Scaling("standard", "robust")}
SUMS: dict[str, Any] = {"loss": "sum_squares", "targets": 3}
RATE = 0.05

#: A problem's particulars, and what is asked of a descent.
FITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sgd": ({}, {"optimizer": Sgd(RATE)}),
    "momentum": ({}, {"optimizer": Sgd(RATE, 0.9, True, weight_decay=0.05)}),
    "rmsprop": ({}, {"optimizer": Rmsprop(RATE, 0.8, 0.5, 1e-3, True, clipvalue=0.5)}),
    "adam": (EVERYTHING, {"optimizer": Adam(RATE, amsgrad=True), "penalty": L2(0.1)}),
    "adamw": ({}, {"optimizer": Adamw(CosineDecay(0.01, 7, 0.1, 0.1, 3))}),
    "adamax": (SUMS, {"optimizer": Adamax(RATE, clipnorm=0.5)}),
    "nadam": ({}, {"optimizer": Nadam(RATE, global_clipnorm=0.5)}),
    "adagrad": ({}, {"optimizer": Adagrad(ExponentialDecay(0.5, 3, 0.9))}),
    "adadelta": ({"intercept": False}, {"optimizer": Adadelta(1.0)}),
    "lion": ({}, {"optimizer": Lion(PiecewiseConstantDecay((2, 5), (0.1, 0.05, 0.01))), "drop_last": True}),
    "ftrl": ({}, {"optimizer": Ftrl(0.1, -0.7, 0.2, 0.01, 0.02, 0.03, 0.1), "max_steps": 7}),
    "mean": ({}, {"optimizer": Sgd(0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3)}),
    "full": ({}, {"optimizer": Sgd(RATE), "batch_size": None}),
}
#: Optimizers whose state is taken over from another fit.
GOING_ON: dict[str, Optimizer] = {
    "after momentum": Sgd(RATE, 0.9),
    "after rmsprop": Rmsprop(RATE, 0.8, 0.5, 1e-3, True),
    "after adam": Adam(RATE, amsgrad=True),
    "after adamax": Adamax(RATE),
    "after nadam": Nadam(RATE),
    "after adagrad": Adagrad(RATE),
    "after adadelta": Adadelta(1.0),
    "after lion": Lion(RATE),
    "after ftrl": Ftrl(0.1),
    "after mean": Adam(RATE, use_ema=True, ema_momentum=0.8),
}


def _fits(dtype: Precision) -> dict[str, Replayed]:
    usual = BATCHES | {"dtype": dtype}
    names = FITS if dtype == "float64" else ("sgd", "adam", "nadam", "ftrl", "mean")
    asked = {name: FITS[name] for name in names}
    fits = {name: replayed(random_problem(7, **which), Descent(**usual | how)) for name, (which, how) in asked.items()}
    if dtype == "float32":
        return fits
    for name, optimizer in GOING_ON.items():
        first = Descent(optimizer=optimizer, **usual | {"max_steps": 4})
        second = Descent(optimizer=optimizer, **usual | {"start": Ended("0")})
        fits[name] = replayed(random_problem(7), second, first)
    return fits


@pytest.fixture(scope="module", params=get_args(Precision))
def answered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of each fit of a precision, what the service answered and what its program prints."""
    fits = _fits(request.param)
    return fits, run_all(tmp_path_factory.mktemp("programs"), fits, "keras")


def test_programs_print_the_fits_coefficients(answered: tuple[dict[str, Replayed], dict[str, Any]]) -> None:
    fits, printed = answered
    assert printed.keys() == fits.keys()
    for name, fit in fits.items():
        assert isinstance(fit.task.solver, Descent)
        tolerance = 1e-5 if fit.task.solver.dtype == "float32" else 1e-10
        expected = estimates(fit)
        found = [line["estimate"] for line in printed[name]]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def test_every_optimizer_is_among_them() -> None:
    kinds = {how["optimizer"].kind for _, how in FITS.values()}
    assert kinds == {optimizer.kind for optimizer in get_args(Optimizer)}
    # Plain sgd and AdamW remember nothing that sgd with momentum and Adam do not.
    assert {optimizer.kind for optimizer in GOING_ON.values()} == kinds - {"adamw"}


def test_an_optimizers_own_options_are_all_spelled_out() -> None:
    text = script(replayed(random_problem(7), Descent(optimizer=Adam(), epochs=1)), "keras")
    for option in ("learning_rate=np.float64(0.001)", "beta_1=np.float64(0.9)", "epsilon=1e-07", "amsgrad=False"):
        assert option in text
    assert "clipnorm" not in text
