from dataclasses import replace

import numpy as np
import pytest

from service.fitting.check import check
from service.fitting.data import Dataset
from service.fitting.descent.going_on import begin
from service.fitting.descent.optimizers import Adagrad, Adam, Ftrl, Nadam, Optimizer, Sgd
from service.fitting.descent.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay
from service.fitting.descent.standing import Standing
from service.fitting.descent.start import Ended, Start, Values, Zeros
from service.fitting.errors import InvalidProblem
from service.fitting.inference.options import Inference
from service.fitting.model import Model
from service.fitting.penalty import L2
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Precision, Solver
from service.fitting.task import FitTask

MODEL = Model(("a", "b"), ("y",))
PAIR = ((1.0,), (2.0,))


def _dataset(task: FitTask) -> Dataset:
    names = task.model.features + task.model.targets
    return Dataset(names, np.random.default_rng(0).normal(size=(100, len(names))))


def _check(task: FitTask, dataset: Dataset, ended: Standing | None = None) -> None:
    check(task, task.problem(dataset), ended)


def _task(start: Start) -> FitTask:
    return FitTask(MODEL, Descent(start=start))


def _optimized(optimizer: Optimizer, dtype: Precision = "float64") -> FitTask:
    return FitTask(MODEL, Descent(optimizer=optimizer, dtype=dtype))


@pytest.mark.parametrize(
    ("task", "place"),
    [
        (_task(Values(((1.0,),), (0.0,))), ("solver", "start", "coefficients")),
        (_task(Values(((1.0, 2.0),), (0.0,))), ("solver", "start", "coefficients")),
        (_task(Values(((1.0,), (1.0, 2.0)), (0.0,))), ("solver", "start", "coefficients")),
        (_task(Values((), (0.0,))), ("solver", "start", "coefficients")),
        (_task(Values(PAIR, None)), ("solver", "start", "intercept")),
        (_task(Values(PAIR, (1.0, 2.0))), ("solver", "start", "intercept")),
        (
            FitTask(Model(("a", "b"), ("y",), False), Descent(start=Values(PAIR, (1.0,)))),
            ("solver", "start", "intercept"),
        ),
        (FitTask(MODEL, Descent(epochs=10**12, batch_size=1)), ("solver", "epochs")),
        (FitTask(MODEL, Descent(epochs=10**13, max_steps=2 * 10**12)), ("solver", "max_steps")),
        (
            FitTask(
                Model(tuple(f"x{j}" for j in range(999)), ("y",)),
                Descent(epochs=10**5),
                recording=Recording("step", limit=10**5),
            ),
            ("record", "limit"),
        ),
        (FitTask(Model(("a",), ("y",), False), Exact(), Scaling("minmax")), ("scaling", "features")),
        (
            FitTask(Model(("a",), ("y",), degree=2), Descent(start=Values(((1.0,),), (0.0,)))),
            ("solver", "start", "coefficients"),
        ),
        (FitTask(MODEL, Exact(L2(-1.0))), ("solver", "penalty", "strength")),
        (FitTask(MODEL, Exact(L2(np.nan))), ("solver", "penalty", "strength")),
        (FitTask(MODEL, Descent(penalty=L2(np.inf))), ("solver", "penalty", "strength")),
        (FitTask(MODEL, Descent(dtype="float32", penalty=L2(1e39))), ("solver", "dtype")),
        (FitTask(MODEL, Exact(), inference=Inference("clustered")), ("inference", "clusters")),
        (FitTask(MODEL, Exact(), inference=Inference("hc3", clusters="a")), ("inference", "clusters")),
    ],
)
def test_impossible_tasks_are_refused_by_place(task: FitTask, place: tuple[str, ...]) -> None:
    with pytest.raises(InvalidProblem) as refused:
        _check(task, _dataset(task))
    assert refused.value.place == place


@pytest.mark.parametrize("scale", [1e39, 1e300])
@pytest.mark.parametrize("column", ["a", "y"])
def test_numbers_beyond_the_precision_are_refused_unless_scaling_brings_them_back(scale: float, column: str) -> None:
    values = {"a": [1.0, 2.0, 3.0], "b": [2.0, 1.0, 5.0], "y": [1.0, 2.0, 4.0]}
    values[column] = [scale * value for value in values[column]]
    dataset = Dataset.from_columns(values)
    _check(FitTask(MODEL, Descent()), dataset)
    _check(FitTask(MODEL, Descent(dtype="float32"), Scaling("standard", "standard")), dataset)
    _check(FitTask(MODEL, Descent(dtype="float32"), Scaling("minmax", "minmax")), dataset)
    with pytest.raises(InvalidProblem) as refused:
        _check(FitTask(MODEL, Descent(dtype="float32")), dataset)
    assert refused.value.place == ("solver", "dtype")


def test_a_start_beyond_the_precision_is_refused() -> None:
    start = Values(((1e39,), (0.0,)), (0.0,))
    task = _task(start)
    _check(task, _dataset(task))
    with pytest.raises(InvalidProblem):
        _check(FitTask(MODEL, Descent(dtype="float32", start=start)), _dataset(task))


@pytest.mark.parametrize(
    "solver",
    [
        Exact(),
        Descent(start=Values(PAIR, (1.0,))),
        Descent(batch_size=1000),
        Descent(epochs=10**9, max_steps=10, batch_size=7),
        Exact(L2(0.0)),
        Descent(penalty=L2(1e-3)),
    ],
)
def test_possible_tasks_pass(solver: Solver) -> None:
    _check(FitTask(MODEL, solver), _dataset(FitTask(MODEL, solver)))


WEIGHTED = Model(("a",), ("y",), weights="w")


@pytest.mark.parametrize(("weights", "named"), [([1.0, -1e-300, -2.0], "Row 2"), ([0.0, 0.0, -0.0], "all 0")])
def test_weights_that_weigh_nothing_are_refused(weights: list[float], named: str) -> None:
    dataset = Dataset.from_columns({"a": [1.0, 2.0, 4.0], "y": [1.0, 2.0, 3.0], "w": weights})
    for solver in (Exact(), Descent()):
        with pytest.raises(InvalidProblem) as refused:
            _check(FitTask(WEIGHTED, solver), dataset)
        assert refused.value.place == ("model", "weights")
        assert named in refused.value.message


def test_weights_of_any_size_are_weighed() -> None:
    dataset = Dataset.from_columns({"a": [1.0, 2.0, 4.0], "y": [1.0, 2.0, 3.0], "w": [0.0, 1e-300, 1e300]})
    _check(FitTask(WEIGHTED, Exact()), dataset)
    _check(FitTask(WEIGHTED, Descent()), dataset)
    with pytest.raises(InvalidProblem) as refused:
        _check(FitTask(WEIGHTED, Descent(dtype="float32")), dataset)
    assert refused.value.place == ("solver", "dtype")


@pytest.mark.parametrize("solver", [Exact(), Descent()])
@pytest.mark.parametrize("size", [1e103, 1e-103])
def test_powers_beyond_float64_are_refused(size: float, solver: Solver) -> None:
    dataset = Dataset.from_columns({"z": [0.0, 0.0, 0.0], "a": [0.0, -size, size / 2], "y": [1.0, 2.0, 4.0]})
    _check(FitTask(Model(("z", "a"), ("y",), degree=2), solver), dataset)
    with pytest.raises(InvalidProblem) as refused:
        _check(FitTask(Model(("z", "a"), ("y",), degree=3), solver), dataset)
    assert refused.value.place == ("model", "degree")
    assert "a^3" in refused.value.message


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_a_penalty_beyond_float64_in_the_units_of_the_data_is_refused(size: float) -> None:
    dataset = Dataset.from_columns({"a": [1.0, 2.0, 4.0], "b": [size, 2 * size, 5 * size], "y": [1.0, 2.0, 3.0]})
    _check(FitTask(MODEL, Exact(L2(1.0))), dataset)
    with pytest.raises(InvalidProblem) as refused:
        _check(FitTask(MODEL, Exact(L2(1.0)), Scaling("standard")), dataset)
    assert refused.value.place == ("solver", "penalty", "strength")
    assert "'b'" in refused.value.message


@pytest.mark.parametrize(
    ("optimizer", "place"),
    [
        (Sgd(1e39), ("learning_rate",)),
        (Sgd(1e-46), ("learning_rate",)),
        (Sgd(clipnorm=1e40), ("clipnorm",)),
        (Adagrad(initial_accumulator_value=1e50), ("initial_accumulator_value",)),
        (Adam(epsilon=1e-60), ("epsilon",)),
        (Ftrl(l1_regularization_strength=1e300), ("l1_regularization_strength",)),
        (Adam(ExponentialDecay(1e39, 10, 0.5)), ("learning_rate", "initial_learning_rate")),
        (Adam(CosineDecay(0.1, 10, warmup_target=1e39, warmup_steps=3)), ("learning_rate", "warmup_target")),
        (Nadam(PiecewiseConstantDecay((3,), (0.1, 1e-50))), ("learning_rate", "values", 1)),
    ],
)
def test_options_that_float32_cannot_hold_are_refused_by_place(
    optimizer: Optimizer, place: tuple[str | int, ...]
) -> None:
    task = _optimized(optimizer, "float32")
    _check(_optimized(optimizer), _dataset(task))
    with pytest.raises(InvalidProblem) as refused:
        _check(task, _dataset(task))
    assert refused.value.place == ("solver", "optimizer", *place)
    assert "float64" in refused.value.allowed


def test_options_of_0_are_options() -> None:
    task = _optimized(Ftrl(initial_accumulator_value=0.0, learning_rate_power=0.0, weight_decay=0.0), "float32")
    _check(task, _dataset(task))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Model(("a", "c"), ("y",)), "terms: '(intercept)', 'a', 'c', where this one has '(intercept)', 'a', 'b'"),
        (Model(("b", "a"), ("y",)), "terms"),
        (Model(("a", "b"), ("y",), intercept=False), "terms: 'a', 'b', where"),
        (Model(("a", "b"), ("z",)), "targets: 'z', where this one has 'y'"),
    ],
)
def test_a_fit_of_other_terms_or_targets_is_nothing_to_start_from(model: Model, named: str) -> None:
    ended = Standing.at(model.terms, model.targets, np.zeros((len(model.terms), 1)))
    task = _task(Ended("an id"))
    with pytest.raises(InvalidProblem) as refused:
        _check(task, _dataset(task), ended)
    assert refused.value.place == ("solver", "start", "fit")
    assert named in refused.value.message
    _check(task, _dataset(task), Standing.at(MODEL.terms, MODEL.targets, np.zeros((3, 1))))


@pytest.mark.parametrize("part", ["parameters", "slots"])
def test_where_a_fit_ended_must_be_within_the_precision_too(part: str) -> None:
    descent = Descent(optimizer=Sgd(momentum=0.9), start=Ended("an id"))
    task = FitTask(MODEL, descent)
    dataset = _dataset(task)
    begun = begin(task.problem(dataset), replace(descent, start=Zeros()))
    state = replace(begun.state, **{part: np.full_like(getattr(begun.state, part), 1e200)})
    ended = begun.ended(state, begun.row_orders())
    _check(task, dataset, ended)
    with pytest.raises(InvalidProblem) as refused:
        _check(replace(task, solver=replace(descent, dtype="float32")), dataset, ended)
    assert refused.value.place == ("solver", "dtype")
