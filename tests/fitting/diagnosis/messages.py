"""What is said of many ends, as a text to be read: `messages.txt`.

``python -m tests.fitting.diagnosis.messages`` writes it anew; read what has changed before it is committed. What is
left of a gap where nothing but rounding is left differs from machine to machine, and is written down as 0.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from service.datasets.cases import case
from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam, Ftrl, Lion, Rmsprop, Sgd
from service.fitting.descent.schedules import ExponentialDecay
from service.fitting.descent.start import GlorotUniform, Values
from service.fitting.diagnosis.answer import Cause
from service.fitting.model import resolve_model
from service.fitting.penalty import Penalty
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Stop
from tests.fitting.descent.problems import random_problem
from tests.fitting.diagnosis.diagnosed import Diagnosed, diagnosed, of_case

TEXTS = Path(__file__).with_name("messages.txt")

#: By a title, what is diagnosed.
Ends = Iterator[tuple[str, Callable[[], Diagnosed]]]


@cache
def diagnosed_ends() -> dict[str, Diagnosed]:
    """All of them by their titles; run once."""
    return {title: end() for title, end in ends()}


def text() -> str:
    """All that is said."""
    parts = ("\n".join([f"# {title}", *_lines(end.diagnosis.causes)]) for title, end in diagnosed_ends().items())
    return "\n\n".join(parts) + "\n"


def _lines(causes: tuple[Cause, ...]) -> Iterator[str]:
    for cause in causes:
        yield f"{cause.code} {cause.share:.2f}{' (' + ', '.join(cause.terms[:6]) + ')' if cause.terms else ''}"
        yield f"    {_without_rounding(cause.message)}"


def _without_rounding(message: str) -> str:
    rounded = re.sub(r"\d(\.\d+)?e-(1[3-9]|[2-9]\d)", "0", message)
    return re.sub(r"1[2-6](\.\d)? digits match", "all digits match", rounded)


def ends() -> Ends:
    """The five questions, and whatever else there are causes for."""
    yield from _tiny_scale()
    yield from _collinear()
    yield from _single_sample()
    yield from _every_iteration()
    yield from _broadcast()
    yield from _options()
    yield from _rates_and_precision()
    yield from _columns()


def _tiny_scale() -> Ends:
    asked = Descent(optimizer=Sgd(0.1), epochs=100, dtype="float32")
    plain, minmax = of_case("tiny-scale"), of_case("tiny-scale", Scaling("minmax", "minmax"))
    yield "tiny-scale: as asked", partial(diagnosed, plain, asked)
    yield "tiny-scale: scaled to [0, 1]", partial(diagnosed, minmax, replace(asked, epochs=1000))
    yield "tiny-scale: too large a rate", partial(diagnosed, plain, replace(asked, optimizer=Sgd(2.1), epochs=1000))
    yield "tiny-scale: Adam", partial(diagnosed, plain, Descent(optimizer=Adam(), epochs=100))


def _collinear() -> Ends:
    asked, problem = Descent(optimizer=Sgd(0.01), epochs=1000), of_case("collinear")
    random = replace(asked, start=GlorotUniform(), seed=1)
    yield "collinear: all rows, a random start", partial(diagnosed, problem, random)
    yield "collinear: all rows, from zero", partial(diagnosed, problem, asked)
    yield "collinear: batches in order, from zero", partial(diagnosed, problem, replace(asked, batch_size=10_000))
    shuffled = replace(asked, batch_size=10_000, shuffle=True, epochs=100)
    yield "collinear: shuffled batches, from zero", partial(diagnosed, problem, shuffled)


def _single_sample() -> Ends:
    computed = _computed("single-sample")
    coefficients = tuple(map(tuple, np.transpose(computed["W0"]).tolist()))
    solver = Descent(optimizer=Sgd(0.001), epochs=1000, start=Values(coefficients, tuple(computed["b0"])))
    yield "single-sample", partial(diagnosed, of_case("single-sample", loss="sum_squares"), solver)


def _computed(name: str) -> dict[str, list[float]]:
    found = case(name)
    assert found is not None
    return found.computed


def _every_iteration() -> Ends:
    solver = Descent(optimizer=Rmsprop(0.05), epochs=1, start=Values(((0.5,),), (0.0,)))
    problem = of_case("every-iteration")
    yield "every-iteration: one step by all rows", partial(diagnosed, problem, solver)
    yield "every-iteration: batches of three", partial(diagnosed, problem, replace(solver, batch_size=3))
    yield "every-iteration: much longer", partial(diagnosed, problem, replace(solver, batch_size=3, epochs=1000))


def _broadcast() -> Ends:
    solver = Descent(optimizer=Sgd(0.01), batch_size=100, epochs=101, max_steps=10_001)
    yield "broadcast", partial(diagnosed, of_case("broadcast"), solver, ("broadcast",))


def _options() -> Ends:
    problem, asked = random_problem(3), Descent(optimizer=Sgd(0.1), epochs=100)
    for title, optimizer in (
        ("weight decay", Sgd(0.1, weight_decay=0.01)),
        ("clipped gradients", Sgd(0.1, clipnorm=0.01)),
        ("a running mean", Sgd(0.1, use_ema=True)),
        ("a schedule", Sgd(ExponentialDecay(0.1, 10, 0.5))),
        ("FTRL's penalties", Ftrl(1.0, l2_shrinkage_regularization_strength=0.1)),
        ("Lion", Lion(0.1)),
    ):
        yield title, partial(diagnosed, problem, replace(asked, optimizer=optimizer, epochs=300))
    yield "a stop rule", partial(diagnosed, problem, replace(asked, stop=Stop(loss_tolerance=1e-3)))
    yield "batches in order", partial(diagnosed, problem, replace(asked, batch_size=5, epochs=1000))
    yield "shuffled batches", partial(diagnosed, problem, replace(asked, batch_size=5, shuffle=True, epochs=1000))
    yield "broadcast of batches of one", partial(diagnosed, problem, replace(asked, batch_size=1), ("broadcast",))


def _rates_and_precision() -> Ends:
    problem = random_problem(3)
    yield "a rate that swings", partial(diagnosed, problem, Descent(optimizer=Sgd(0.46), epochs=20))
    yield "a rate that diverges", partial(diagnosed, problem, Descent(optimizer=Sgd(1.0), epochs=1000))
    yield "a rate that would", partial(diagnosed, problem, Descent(optimizer=Sgd(0.9), epochs=20))
    single = Descent(optimizer=Sgd(0.4), epochs=30_000, dtype="float32")
    turn = np.linspace(0.0, 6.0, 50)
    near = np.column_stack([np.sin(turn), np.sin(turn) + 0.05 * np.cos(turn)])
    yield "single precision", partial(diagnosed, _problem(("x1", "x2"), near, turn), single)
    large = np.array([1000.0, 2000.0, 4000.0])[:, None], np.array([1e38, -1e38, 3e38])
    slow = replace(single, optimizer=Sgd(1e-8))
    yield "numbers too large", partial(diagnosed, _problem(("x",), *large), slow)


def _columns() -> Ends:
    stream = np.random.default_rng(0)
    two = stream.normal(size=(20, 2))
    three = np.column_stack([two, 2.0 * two[:, 0] - two[:, 1] + 1.0])
    y = two.sum(axis=1)
    asked = Descent(optimizer=Sgd(0.1), epochs=1000, start=GlorotUniform())
    yield "a column that the others make", partial(diagnosed, _problem(("a", "b", "c"), three, y), asked)
    penalised = replace(asked, penalty=Penalty(0.01))
    yield "the same with a penalty", partial(diagnosed, _problem(("a", "b", "c"), three, y), penalised)
    yield "the same from zero", partial(diagnosed, _problem(("a", "b", "c"), three, y), Descent(epochs=10_000))
    wide = stream.normal(size=(50, 100))
    names = tuple(f"gene_{j + 1}" for j in range(100))
    yield "more columns than rows", partial(diagnosed, _problem(names, wide, wide[:, 0]), replace(asked, epochs=10))
    long = ("the price of bread in the capital in the year before", "the price of bread in the capital a year later")
    near = np.column_stack([two[:, 0], two[:, 0] + 0.001 * two[:, 1]])
    yield "long names", partial(diagnosed, _problem(long, near, y), asked)


def _problem(names: tuple[str, ...], x: FloatArray, y: FloatArray) -> Problem:
    dataset = Dataset((*names, "y"), np.column_stack([x, y]))
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


if __name__ == "__main__":
    TEXTS.write_text(text(), encoding="utf-8")
