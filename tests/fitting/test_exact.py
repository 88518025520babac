"""The exact answer: ridge, weights and powers, each against somebody else's or against its own definition."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from service.fitting.arrays import FloatArray
from service.fitting.check import check
from service.fitting.data import Dataset
from service.fitting.exact import references, solve_exactly
from service.fitting.inference.options import Inference
from service.fitting.loss import Loss
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solution import Report
from service.fitting.solver import Exact
from service.fitting.task import FitTask
from tests.fitting.descent.problems import random_problem


def _estimate(report: Report, targets: int) -> FloatArray:
    return np.array([c.estimate for c in report.coefficients]).reshape(targets, -1).T


def _alpha(problem: Problem, strength: float) -> float:
    """As `L2` says it."""
    return strength * problem.y.size if problem.loss == "mse" else strength


@pytest.mark.parametrize("loss", ["mse", "sum_squares"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("strength", [1e-6, 0.3, 1e4])
def test_ridge_is_scikit_learns(loss: Loss, intercept: bool, weighted: bool, strength: float) -> None:
    problem = random_problem(1, targets=2, intercept=intercept, loss=loss, weighted=weighted)
    ridge = Ridge(_alpha(problem, strength), fit_intercept=intercept, solver="cholesky")
    ridge.fit(problem.x, problem.y, sample_weight=problem.weights)
    expected = np.vstack([ridge.intercept_, ridge.coef_.T]) if intercept else ridge.coef_.T
    report = solve_exactly(problem, Exact(L2(strength)))
    np.testing.assert_allclose(_estimate(report, 2), expected, rtol=1e-9)


@pytest.mark.parametrize("degree", [1, 3])
def test_ridge_on_standardised_powers_is_a_pipeline_of_scikit_learns(degree: int) -> None:
    """The strength belongs to standardised columns, and the loss to standardised targets."""
    problem = random_problem(2, features=1, targets=2, degree=degree, scaling=Scaling("standard", "standard"))
    ridge = Ridge(_alpha(problem, 0.2), solver="cholesky")
    pipeline = make_pipeline(PolynomialFeatures(degree, include_bias=False), StandardScaler(), ridge)
    targets = StandardScaler().fit(problem.y)
    pipeline.fit(problem.features, targets.transform(problem.y))
    report = solve_exactly(problem, Exact(L2(0.2)))
    predicted = problem.design().plain() @ _estimate(report, 2)
    expected = targets.inverse_transform(pipeline.predict(problem.features))
    np.testing.assert_allclose(predicted, expected, rtol=1e-10)
    scaled = np.array([c.scaled_estimate for c in report.coefficients]).reshape(2, -1).T
    np.testing.assert_allclose(scaled[1:], ridge.coef_.T, rtol=1e-9)


def test_the_unpenalised_answer_stands_beside_the_penalised() -> None:
    problem = random_problem(3, targets=2)
    penalised, plain = solve_exactly(problem, Exact(L2(0.5))), solve_exactly(problem, Exact())
    assert (penalised.reference.objective, plain.reference.objective) == ("ridge", "least_squares")
    for shrunk, free in zip(penalised.coefficients, plain.coefficients, strict=True):
        assert shrunk.estimate == shrunk.reference != free.estimate
        assert shrunk.unpenalised == free.estimate
        assert free.unpenalised is None
    assert "penalised optimum" in penalised.outcome.message
    assert "penal" not in plain.outcome.message


@pytest.mark.parametrize("loss", ["mse", "sum_squares"])
def test_the_loss_of_a_penalised_fit_holds_its_penalty(loss: Loss) -> None:
    scaling = Scaling("standard", "minmax")
    problem = random_problem(3, targets=2, weighted=True, loss=loss, scaling=scaling)
    report = solve_exactly(problem, Exact(L2(0.5)))
    estimate = _estimate(report, 2)
    assert problem.weights is not None
    squares = (problem.weights[:, None] * np.square(problem.design().plain() @ estimate - problem.y)).sum()
    scaled = np.array([c.scaled_estimate for c in report.coefficients]).reshape(2, -1).T
    penalty = 0.5 * np.square(scaled[1:] * problem.units.targets.spread).sum()
    expected = squares / (problem.y.size if loss == "mse" else 1) + penalty
    assert report.loss.final == report.loss.reference == pytest.approx(expected, rel=1e-12)


def test_a_strength_of_0_is_no_penalty() -> None:
    problem = random_problem(3)
    assert solve_exactly(problem, Exact(L2(0.0))) == solve_exactly(problem, Exact())
    found = references(problem, L2(0.0))
    assert found.original is found.unpenalised


def test_an_intercept_alone_cannot_be_penalised() -> None:
    dataset = Dataset.from_columns({"y": [0.0, 1.0, 5.0]})
    report = solve_exactly(Problem(dataset, resolve_model(dataset.names, [], None, intercept=True)), Exact(L2(9.0)))
    assert report.coefficients[0].estimate == 2.0
    assert report.reference.objective == "least_squares"


def test_a_penalty_decides_what_the_data_leave_open() -> None:
    problem = random_problem(8, rows=2, features=5)
    report = solve_exactly(problem, Exact(L2(0.1)))
    expected = Ridge(0.1 * 2, solver="svd").fit(problem.x, problem.y)
    np.testing.assert_allclose(_estimate(report, 1)[1:, 0], expected.coef_.ravel(), rtol=1e-9)
    assert report.reference.rank == 2
    assert len(report.reference.null_directions) == 4
    assert not any(c.identified for c in report.coefficients)
    assert "2 of 6" in report.outcome.message
    assert "penalty decides" in report.outcome.message


def _repeated(problem: Problem, counts: FloatArray) -> Problem:
    rows = np.repeat(problem.dataset.values[:, :-1], counts.astype(int), axis=0)
    dataset = Dataset(problem.dataset.names[:-1], rows)
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), loss="sum_squares")


@pytest.mark.parametrize("penalty", [None, L2(0.7)])
def test_a_whole_weight_is_as_many_rows(penalty: L2 | None) -> None:
    weighted = random_problem(4, targets=2, weighted=True, loss="sum_squares")
    counts = np.random.default_rng(4).integers(0, 4, weighted.dataset.rows).astype(float)
    values = np.column_stack([weighted.dataset.values[:, :-1], counts])
    weighted = Problem(Dataset(weighted.dataset.names, values), weighted.model, loss="sum_squares")
    one, other = (solve_exactly(p, Exact(penalty)) for p in (weighted, _repeated(weighted, counts)))
    np.testing.assert_allclose(_estimate(one, 2), _estimate(other, 2), rtol=1e-11)
    assert one.loss.final == pytest.approx(other.loss.final, rel=1e-12)


@pytest.mark.parametrize("degree", [1, 2])
def test_weights_are_scikit_learns(degree: int) -> None:
    problem = random_problem(5, targets=2, weighted=True, degree=degree)
    expected = LinearRegression().fit(problem.x, problem.y, sample_weight=problem.weights)
    estimate = _estimate(solve_exactly(problem, Exact()), 2)
    np.testing.assert_allclose(estimate, np.vstack([expected.intercept_, expected.coef_.T]), rtol=1e-9)


def test_rows_of_weight_0_might_as_well_not_be_there() -> None:
    """But for the mean, which is over all rows, as Keras takes it."""
    problem = random_problem(6, weighted=True)
    assert problem.dataset.values[0, -1] == 0.0
    wild = problem.dataset.values.copy()
    wild[0, :-1] = 1e6
    rows, outlying = problem.dataset.rows, Problem(Dataset(problem.dataset.names, wild), problem.model)
    left_out = Problem(Dataset(problem.dataset.names, wild[1:]), problem.model)
    one, other = solve_exactly(outlying, Exact()), solve_exactly(left_out, Exact())
    np.testing.assert_allclose(_estimate(one, 1), _estimate(other, 1), rtol=1e-13)
    assert one.loss.final == pytest.approx(other.loss.final * (rows - 1) / rows, rel=1e-12)
    assert one.summary[0].observations == rows - 1


@pytest.mark.parametrize("weighted", [True, False])
def test_powers_are_columns(weighted: bool) -> None:
    problem = random_problem(7, features=2, degree=3, weighted=weighted)
    assert problem.model.terms == ("(intercept)", "x1", "x2", "x1^2", "x2^2", "x1^3", "x2^3")
    x = problem.features
    columns = {name: column.tolist() for name, column in zip(problem.model.powers, problem.x.T, strict=True)}
    np.testing.assert_array_equal(problem.x, np.hstack([x, x**2, x**3]))
    columns["y"] = problem.y[:, 0].tolist()
    if problem.weights is not None:
        columns["w"] = problem.weights.tolist()
    dataset = Dataset.from_columns(columns)
    weights = "w" if weighted else None
    spelt_out = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True, weights=weights))
    one, other = (_estimate(solve_exactly(p, Exact()), 1) for p in (problem, spelt_out))
    np.testing.assert_allclose(one, other, rtol=1e-11)


def test_every_part_that_is_asked_for_is_in_the_report() -> None:
    problem = random_problem(9, targets=2, weighted=True, degree=2)
    groups = np.arange(problem.dataset.rows, dtype=float) // 3
    dataset = Dataset((*problem.dataset.names, "g"), np.column_stack([problem.dataset.values, groups]))
    model = resolve_model(dataset.names, None, None, intercept=True, degree=2, weights="w", clusters="g")
    assert model == problem.model
    asked = Inference("clustered", "g", 0.9, covariance=True, collinearity=True)
    report = solve_exactly(Problem(dataset, model), Exact(), asked, ("numpy", "r"))
    assert report.others is not None
    assert report.covariance is not None
    assert report.collinearity is not None
    assert [answer.name for answer in report.others] == ["numpy", "r"]
    assert report.inference.df == len(np.unique(groups)) - 1
    for k, target in enumerate(("y1", "y2")):
        variances = np.diag(np.array(report.covariance[k].matrix))
        of_target = [c for c in report.coefficients if c.target == target]
        np.testing.assert_allclose([c.std_error for c in of_target], np.sqrt(variances), rtol=1e-12)
        assert all(c.ci_low < c.estimate < c.ci_high for c in of_target)
    for answer in report.others:
        printed = np.array([c.estimate for c in answer.coefficients])
        np.testing.assert_allclose(printed, [c.reference for c in report.coefficients], rtol=1e-9)


def test_others_are_compared_with_what_they_compute() -> None:
    """They know of no penalty, so theirs is the unpenalised answer."""
    problem = random_problem(9)
    report = solve_exactly(problem, Exact(L2(1.0)), others=("numpy",))
    assert report.others is not None
    assert min(c.matching_digits for c in report.others[0].coefficients) > 13


def test_an_exact_fit_does_not_build_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has room for the data once, and for no second copy of them."""
    monkeypatch.setattr(Problem, "x", property(lambda _: pytest.fail("a copy")))
    problem = random_problem(9, degree=3, weighted=True, scaling=Scaling("standard", "minmax"))
    assert np.shares_memory(problem.features, problem.dataset.values)
    assert np.shares_memory(problem.design().features, problem.dataset.values)
    solve_exactly(problem, Exact(L2(0.1)))


@pytest.mark.parametrize(
    ("size", "degree"), [(1e-320, 1), (1e-300, 1), (1e-9, 1), (1e300, 1), (1e-75, 4), (1.0, 4), (1e75, 4)]
)
@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize("weight", [None, 1e-300, 1e300])
def test_numbers_of_any_size_are_answered_without_a_word_on_the_console(
    size: float, degree: int, rows: int, weight: float | None, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = np.random.default_rng(1)
    columns = {"x": (size * stream.normal(size=rows)).tolist(), "y": stream.normal(size=rows).tolist()}
    if weight is not None:
        columns["w"] = (weight * stream.uniform(size=rows)).tolist()
    dataset = Dataset.from_columns(columns)
    weights = None if weight is None else "w"
    model = resolve_model(dataset.names, None, None, intercept=True, degree=degree, weights=weights)
    for penalty in (None, L2(1.0)):
        check(FitTask(model, Exact(penalty)), Problem(dataset, model))
        report = solve_exactly(Problem(dataset, model), Exact(penalty))
        numbers = [report.loss.final]
        for c in report.coefficients:
            numbers += [c.reference, c.reference if c.unpenalised is None else c.unpenalised]
        assert not any(np.isnan(numbers))
        assert ("null" in report.outcome.message) == (not np.isfinite(numbers).all())
    assert capfd.readouterr() == ("", "")


def test_the_process_that_serves_http_can_solve() -> None:
    program = """
import sys
from service.fitting.data import Dataset
from service.fitting.exact import solve_exactly
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.penalty import L2
from service.fitting.solver import Exact
dataset = Dataset.from_columns({"x": [1, 2, 3, 4], "y": [1, 3, 2, 5]})
model = resolve_model(dataset.names, None, None, True, 2)
report = solve_exactly(Problem(dataset, model), Exact(L2(0.1)))
assert report.coefficients[1].estimate != 0.0
print(sorted({m.split(".")[0] for m in sys.modules} & {"numba", "sklearn", "tensorflow", "pyarrow", "sqlalchemy"}))
print([m for m in sys.modules if m.startswith("scipy.stats")])
"""
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert seen.stdout.split("\n") == ["[]", "[]", ""]
