"""NumPy programs print what the service answered: run here as anybody would run them, without the service."""

from typing import Any

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
from service.fitting.descent.start import Ended, GlorotUniform, Normal, Values
from service.fitting.penalty import L2
from service.fitting.replay.replayed import Replayed
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Solver, Stop
from tests.fitting.replay.programs import estimates, random_problem, replayed, run_all

BATCHES: dict[str, Any] = {"epochs": 8, "batch_size": 5, "shuffle": True, "seed": 3, "start": GlorotUniform()}

#: Every rule, with and without what its flags change.
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Sgd(0.05),
    "momentum": Sgd(0.02, 0.9),
    "nesterov": Sgd(0.02, 0.9, True),
    "rmsprop": Rmsprop(0.01),
    "rmsprop centered": Rmsprop(0.01, 0.8, 0.5, 1e-3, True),
    "adam": Adam(0.05),
    "amsgrad": Adam(0.05, amsgrad=True),
    "adamw": Adamw(0.05),
    "adamax": Adamax(0.05),
    "nadam": Nadam(0.05),
    "adagrad": Adagrad(0.5),
    "adadelta": Adadelta(1.0),
    "lion": Lion(0.01),
    "ftrl": Ftrl(0.1),
    "ftrl with everything": Ftrl(0.1, -0.7, 0.2, 0.01, 0.02, 0.03, 0.1),
    "exponential": Sgd(ExponentialDecay(0.1, 7, 0.8)),
    "staircase": Adam(ExponentialDecay(0.1, 7, 0.8, staircase=True)),
    "cosine": Nadam(CosineDecay(0.1, 25, 0.1)),
    "warmup": Ftrl(CosineDecay(0.01, 20, 0.1, 0.2, 6), beta=0.1),
    "piecewise": Sgd(PiecewiseConstantDecay((4, 20), (0.1, 0.05, 0.01)), 0.5),
    "clipnorm": Sgd(0.1, clipnorm=0.3),
    "clipvalue": Adam(0.1, clipvalue=0.2),
    "global clipnorm": Rmsprop(0.02, global_clipnorm=0.3),
    "weight decay": Sgd(0.1, weight_decay=0.05),
    "mean": Sgd(0.1, use_ema=True, ema_momentum=0.8),
    "mean that overwrites": Adam(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3),
}
RIDGE = L2(0.3)

#: A problem's particulars, and its solver.
FITS: dict[str, tuple[dict[str, Any], Solver]] = {
    **{name: ({}, Descent(optimizer=optimizer, **BATCHES)) for name, optimizer in OPTIMIZERS.items()},
    **{
        f"{name} in float32": ({"targets": 3}, Descent(optimizer=optimizer, dtype="float32", **BATCHES))
        for name, optimizer in OPTIMIZERS.items()
    },
    "full": ({}, Descent(epochs=30)),
    "in order": ({}, Descent(optimizer=Adam(0.1), epochs=4, batch_size=5)),
    "short batches dropped": ({}, Descent(optimizer=Sgd(0.1), **BATCHES | {"drop_last": True})),
    "ends inside an epoch": ({}, Descent(optimizer=Sgd(0.1), **BATCHES | {"max_steps": 13})),
    "tensorflow": ({}, Descent(backend="tensorflow", optimizer=Adam(0.1), **BATCHES)),
    "converged": ({}, Descent(optimizer=Sgd(0.3), epochs=1000, stop=Stop(gradient_tolerance=1e-3))),
    "diverged": ({}, Descent(optimizer=Sgd(3.0), epochs=10_000)),
    "sum of squares": ({"loss": "sum_squares", "targets": 3}, Descent(optimizer=Sgd(0.003), **BATCHES)),
    "weights": ({"weighted": True, "targets": 3}, Descent(optimizer=Sgd(0.05), **BATCHES)),
    "penalty": ({"targets": 3, "weighted": True}, Descent(optimizer=Sgd(0.05), penalty=RIDGE, **BATCHES)),
    "degree": ({"degree": 2, "scaling": Scaling("standard")}, Descent(optimizer=Adam(0.05), **BATCHES)),
    "scaled": ({"scaling": Scaling("robust", "minmax"), "targets": 3}, Descent(optimizer=Sgd(0.05), **BATCHES)),
    "targets scaled": ({"scaling": Scaling("none", "standard")}, Descent(optimizer=Sgd(0.05), **BATCHES)),
    "no intercept": (
        {"intercept": False, "scaling": Scaling("maxabs")},
        Descent(optimizer=Sgd(0.05, clipnorm=0.5), penalty=RIDGE, **BATCHES),
    ),
    "no features": ({"features": 0}, Descent(optimizer=Adam(0.1), epochs=7)),
    "normal start": ({}, Descent(optimizer=Sgd(0.1), **BATCHES | {"start": Normal(0.5)})),
    "given start": (
        {"scaling": Scaling("standard")},
        Descent(optimizer=Sgd(0.1), **BATCHES | {"start": Values(((1.0,), (2.0,), (3.0,)), (4.0,))}),
    ),
    "exact": ({"targets": 3, "degree": 2}, Exact()),
    "exact, weighted": ({"weighted": True, "scaling": Scaling("standard")}, Exact()),
    "exact ridge": ({"scaling": Scaling("standard", "standard"), "weighted": True}, Exact(RIDGE)),
    "exact, no intercept": ({"intercept": False}, Exact()),
    "exact, rank deficient": ({"rows": 3, "features": 5}, Exact()),
}

#: A fit, and one that goes on from it.
PAIRS: dict[str, tuple[Descent, Descent]] = {
    name: (
        Descent(optimizer=optimizer, **BATCHES | {"max_steps": 13}),
        Descent(optimizer=optimizer, **BATCHES | {"start": Ended("0"), "max_steps": 12}),
    )
    for name, optimizer in OPTIMIZERS.items()
    if name in ("momentum", "rmsprop centered", "amsgrad", "nadam", "ftrl", "warmup", "mean that overwrites")
} | {
    "another optimizer": (
        Descent(optimizer=Adam(0.1), epochs=3),
        Descent(optimizer=Sgd(0.1), epochs=4, start=Ended("0")),
    )
}


@pytest.fixture(scope="module")
def fits() -> dict[str, Replayed]:
    """All of them, as the service answered."""
    alone = {name: replayed(random_problem(7, **particulars), solver) for name, (particulars, solver) in FITS.items()}
    problem = random_problem(7, scaling=Scaling("standard"))
    return alone | {f"after {name}": replayed(problem, second, first) for name, (first, second) in PAIRS.items()}


@pytest.fixture(scope="module")
def printed(fits: dict[str, Replayed], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What their programs print."""
    return run_all(tmp_path_factory.mktemp("programs"), fits, "numpy")


@pytest.mark.parametrize("name", [*FITS, *(f"after {name}" for name in PAIRS)])
def test_a_program_prints_the_fits_coefficients(name: str, fits: dict[str, Replayed], printed: dict[str, Any]) -> None:
    fit = fits[name]
    answered = [(coefficient.target, coefficient.term) for coefficient in fit.report.coefficients]
    assert [(line["target"], line["term"]) for line in printed[name]] == answered
    expected = estimates(fit)
    solver = fit.task.solver
    tolerance = 1e-5 if isinstance(solver, Descent) and solver.dtype == "float32" else 1e-10
    scale = np.abs(expected).max()
    found = [line["estimate"] for line in printed[name]]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


def test_the_fits_end_in_all_ways(fits: dict[str, Replayed]) -> None:
    endings = {fit.report.outcome.kind for fit in fits.values()}
    assert endings == {"exact", "converged", "diverged", "step_limit"}
    assert fits["ends inside an epoch"].steps == 13
    assert fits["after nadam"].report.outcome.iterations == 25
