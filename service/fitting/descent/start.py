"""Where a descent begins.

Random starts draw from ``Generator(PCG64(SeedSequence(seed, spawn_key=(1,))))``, a stream of its own beside the
permutations', so a start can be redrawn without replaying the shuffles. As in Keras, the intercept of a random start
is 0, and every start but `Values` in original units is in descent's units. What is taken over beside the parameters
where a descent goes on from another is `going_on`'s.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.standing import Standing
from service.fitting.problem import Problem


@dataclass(frozen=True)
class Zeros:
    """All parameters 0."""

    kind: Literal["zeros"] = "zeros"


@dataclass(frozen=True)
class Values:
    """Given coefficients, a row for each of `Model.powers` and q wide, and intercepts (q,).

    Without an intercept in the model, `intercept` is None.
    """

    coefficients: tuple[tuple[float, ...], ...]
    intercept: tuple[float, ...] | None
    units: Literal["original", "scaled"] = "original"
    kind: Literal["values"] = "values"


@dataclass(frozen=True)
class GlorotUniform:
    """Uniform on [-r, r] with r = sqrt(6 / (p + q)) (Glorot and Bengio 2010, eq. 16; Keras `Dense`)."""

    kind: Literal["glorot_uniform"] = "glorot_uniform"


@dataclass(frozen=True)
class Normal:
    """Normal with mean 0 (Keras `RandomNormal`)."""

    stddev: float = 0.05
    kind: Literal["normal"] = "normal"


@dataclass(frozen=True)
class Ended:
    """Where another fit ended, known by its id: its `Standing` comes beside the solver."""

    fit: str
    kind: Literal["fit"] = "fit"


Start = Zeros | Values | GlorotUniform | Normal | Ended


def start_stream(seed: int) -> np.random.Generator:
    """The random stream that starts are drawn from."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(1,))))


def draw(start: Zeros | GlorotUniform | Normal, seed: int, features: int, targets: int, intercept: bool) -> FloatArray:
    """Parameters (m, q) of a start that needs no scaling to be known, in descent's units."""
    shape = (features, targets)
    match start:
        case Zeros():
            weights = np.zeros(shape)
        case GlorotUniform():
            reach = np.sqrt(6.0 / (features + targets))
            weights = start_stream(seed).uniform(-reach, reach, shape)
        case Normal():
            weights = start_stream(seed).normal(0.0, start.stddev, shape)
    return np.vstack([np.zeros((1, targets)), weights]) if intercept else weights


def starting_parameters(problem: Problem, start: Start, seed: int, ended: Standing | None = None) -> FloatArray:
    """Parameters (m, q) to start from, in descent's units; `ended` is where the fit of the start `Ended` did."""
    p, q = len(problem.model.powers), len(problem.model.targets)
    if isinstance(start, Ended):
        if ended is None:
            raise ValueError("a start from another fit comes with where that fit ended")
        return ended.parameters_in(problem.units)
    if not isinstance(start, Values):
        return draw(start, seed, p, q, problem.model.intercept)
    given = np.array(start.coefficients, dtype=np.float64).reshape(p, q)
    if start.intercept is not None and problem.model.intercept:
        given = np.vstack([np.array(start.intercept, dtype=np.float64), given])
    return problem.units.to_scaled(given) if start.units == "original" else given
