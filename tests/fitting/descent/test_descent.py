"""What a descent writes down, where it leads, and that both engines say the same."""

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.check import check
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Optimizer, Rmsprop, Sgd
from service.fitting.descent.start import GlorotUniform, Start, Values
from service.fitting.loss import Loss
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Backend, Descent, Exact
from service.fitting.task import FitTask
from service.fitting.trajectory import Trajectory
from tests.fitting.descent.problems import Solved, random_problem, solve

BACKENDS: tuple[Backend, ...] = ("numpy", "tensorflow")


def _trajectory(solution: Solved) -> Trajectory:
    assert solution.trajectory is not None
    return solution.trajectory


def _coefficients(trajectory: Trajectory) -> FloatArray:
    assert trajectory.original.coefficients is not None
    return trajectory.original.coefficients


def _loss_directly(problem: Problem, parameters: FloatArray, penalty: L2 | None = None) -> float:
    weights = 1.0 if problem.weights is None else problem.weights[:, None]
    squares = (weights * np.square(problem.design().plain() @ parameters - problem.y)).sum()
    loss = float(squares / problem.y.size if problem.loss == "mse" else squares)
    if penalty is None:
        return loss
    scaled = problem.units.to_scaled(parameters)[int(problem.model.intercept) :]
    return loss + penalty.strength * float(np.square(scaled * problem.units.targets.spread).sum())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ["mse", "sum_squares"])
@pytest.mark.parametrize(
    ("scaling", "intercept", "degree"),
    [
        (Scaling(), True, 1),
        (Scaling(), False, 2),
        (Scaling("standard", "minmax"), True, 2),
        (Scaling("minmax", "standard"), True, 1),
    ],
)
@pytest.mark.parametrize(("weighted", "penalty"), [(False, None), (True, L2(0.4))])
def test_every_column_of_every_row(
    backend: Backend,
    loss: Loss,
    scaling: Scaling,
    intercept: bool,
    degree: int,
    weighted: bool,
    penalty: L2 | None,
) -> None:
    """Against an independent descent in descent's units, with everything worked out from its definition."""
    problem = random_problem(
        3, targets=2, intercept=intercept, scaling=scaling, loss=loss, degree=degree, weighted=weighted
    )
    descent = Descent(
        backend=backend,
        optimizer=Sgd(0.002),
        epochs=3,
        batch_size=10,
        start=GlorotUniform(),
        seed=4,
        penalty=penalty,
    )
    solution = solve(problem, descent, Recording("step"))
    record = _trajectory(solution)
    y, units = problem.scaled_y, problem.units
    a = np.hstack([np.ones((23, 1)), problem.scaled_x]) if intercept else problem.scaled_x
    s = np.ones((23, 1)) if problem.weights is None else problem.weights[:, None]
    strength = np.full((a.shape[1], 1), 0.0 if penalty is None else penalty.strength)
    strength[: int(intercept)] = 0.0
    in_descents_units = (record.scaled or record.original).coefficients
    assert in_descents_units is not None
    w = in_descents_units[0].copy()
    spread = units.targets.spread
    assert record.recorded == 10
    for row in range(1, 10):
        first = (row - 1) % 3 * 10
        if first == 0:
            epoch_squares, epoch_rows, epoch_loss = 0.0, 0, 0.0
        batch, targets, weights = a[first : first + 10], y[first : first + 10], s[first : first + 10]
        residual = batch @ w - targets
        squares = (weights * np.square(residual * spread)).sum()
        divisor = targets.size if loss == "mse" else 1
        batch_loss = squares / divisor + (strength * np.square(w * spread)).sum()
        w = w - 0.002 * ((2.0 / divisor) * batch.T @ (weights * residual) + 2.0 * strength * w)
        epoch_squares, epoch_rows = epoch_squares + squares, epoch_rows + len(batch)
        epoch_loss += batch_loss * len(batch)
        user = units.to_user(w)
        gradient = 2.0 / (y.size if loss == "mse" else 1) * a.T @ (s * (a @ w - y)) + 2.0 * strength * w
        reference = np.array([c.reference for c in solution.report.coefficients]).reshape(2, -1).T
        seen = record.original
        assert (record.step[row], record.rows[row], record.learning_rate[row]) == (row, len(batch), 0.002)
        np.testing.assert_allclose(_coefficients(record)[row], user, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(seen.batch_loss[row], batch_loss, rtol=1e-10)
        np.testing.assert_allclose(seen.epoch_loss[row], epoch_loss / epoch_rows, rtol=1e-10)
        np.testing.assert_allclose(seen.epoch_rmse[row], np.sqrt(epoch_squares / (epoch_rows * 2)), rtol=1e-10)
        np.testing.assert_allclose(seen.loss[row], _loss_directly(problem, user, penalty), rtol=1e-10)
        np.testing.assert_allclose(record.gradient_norm[row], np.linalg.norm(gradient), rtol=1e-9)
        np.testing.assert_allclose(seen.gap[row], np.linalg.norm(user - reference), rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scaling", [Scaling("standard", "minmax"), Scaling("minmax"), Scaling()])
@pytest.mark.parametrize("penalty", [None, L2(0.05)])
def test_descent_ends_at_its_reference(backend: Backend, scaling: Scaling, penalty: L2 | None) -> None:
    problem = random_problem(5, rows=40, features=2, targets=2, scaling=scaling, degree=2, weighted=True)
    descent = Descent(backend=backend, optimizer=Sgd(0.05, 0.95), epochs=20_000, penalty=penalty)
    solution = solve(problem, descent)
    report, record = solution.report, _trajectory(solution)
    assert record.original.gap[0] > 0.1
    assert record.original.gap[-1] < 1e-11
    assert 0.0 <= report.loss.excess < 1e-22
    assert report.loss.final == pytest.approx(report.loss.reference, rel=1e-12)
    exact = solve(problem, Exact(penalty)).report
    for ours, reference in zip(report.coefficients, exact.coefficients, strict=True):
        assert ours.matching_digits > 10
        assert ours.estimate == pytest.approx(reference.estimate, rel=1e-10)
        assert ours.unpenalised == reference.unpenalised
        np.testing.assert_equal(ours.std_error, reference.std_error)
    assert report.reference == exact.reference
    assert repr(report.summary) == repr(exact.summary)
    assert ("penalised optimum" in report.outcome.message) == (penalty is not None)


def test_the_start_is_row_0_and_met_no_batch() -> None:
    problem = random_problem(3)
    start = Values(((1.0,), (2.0,), (3.0,)), (4.0,))
    record = _trajectory(solve(problem, Descent(epochs=2, start=start)))
    assert (record.step[0], record.epoch[0], record.batch[0], record.rows[0]) == (0, 0, 0, 0)
    np.testing.assert_array_equal(_coefficients(record)[0][:, 0], [4.0, 1.0, 2.0, 3.0])
    assert np.isnan([record.original.batch_loss[0], record.original.epoch_loss[0], record.original.epoch_rmse[0]]).all()
    assert record.original.loss[0] == pytest.approx(_loss_directly(problem, _coefficients(record)[0]))


@pytest.mark.parametrize("units", ["original", "scaled"])
def test_a_given_start_is_read_in_the_units_it_names(units: str) -> None:
    problem = random_problem(3, scaling=Scaling("standard", "minmax"))
    start = Values(((1.0,), (2.0,), (3.0,)), (4.0,), units)  # type: ignore[arg-type]
    record = _trajectory(solve(problem, Descent(epochs=1, start=start)))
    seen = record.original if units == "original" else record.scaled
    assert seen is not None
    assert seen.coefficients is not None
    np.testing.assert_allclose(seen.coefficients[0][:, 0], [4.0, 1.0, 2.0, 3.0], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [Sgd(0.03, 0.9, True), Rmsprop(0.01, momentum=0.5, centered=True, epsilon=1e-3)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_both_engines_agree(dtype: str, optimizer: Optimizer, shuffle: bool) -> None:
    problem = random_problem(9, rows=37, targets=3)
    records = [
        _trajectory(
            solve(
                problem,
                Descent(
                    backend=backend,
                    dtype=dtype,  # type: ignore[arg-type]
                    optimizer=optimizer,
                    epochs=60,
                    batch_size=8,
                    shuffle=shuffle,
                    seed=2,
                    start=GlorotUniform(),
                ),
            )
        )
        for backend in BACKENDS
    ]
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(_coefficients(records[0]), _coefficients(records[1]), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(records[0].original.batch_loss, records[1].original.batch_loss, rtol=tolerance * 100)


@pytest.mark.parametrize("backend", BACKENDS)
def test_recording_changes_nothing_but_what_is_kept(backend: Backend) -> None:
    problem = random_problem(1)
    descent = Descent(backend=backend, epochs=40, batch_size=5, shuffle=True)
    every = _trajectory(solve(problem, descent, Recording("step")))
    some = _trajectory(solve(problem, descent, Recording(7, limit=10)))
    assert some.recorded == 10
    assert (some.step[0], some.step[-1], some.total_steps) == (0, 200, 200)
    np.testing.assert_array_equal(_coefficients(every)[some.step], _coefficients(some))
    np.testing.assert_array_equal(every.original.epoch_loss[some.step[1:]], some.original.epoch_loss[1:])
    none = _trajectory(solve(problem, descent, Recording("step", coefficients=False)))
    assert none.original.coefficients is None
    np.testing.assert_array_equal(none.original.loss, every.original.loss)


def test_the_exact_solver_is_its_own_reference() -> None:
    problem = random_problem(8, targets=2, scaling=Scaling("standard", "standard"))
    solution = solve(problem, Exact())
    report = solution.report
    assert solution.trajectory is None
    assert report.outcome.kind == "exact"
    assert all(
        c.estimate == c.reference and c.difference == 0.0 and c.matching_digits > 15.9 for c in report.coefficients
    )
    estimate = np.array([c.estimate for c in report.coefficients]).reshape(2, -1).T
    assert report.loss.final == report.loss.reference == pytest.approx(_loss_directly(problem, estimate), rel=1e-12)
    assert report.loss.excess == 0.0
    assert report.loss.initial is None
    np.testing.assert_allclose(estimate, np.linalg.lstsq(problem.design().plain(), problem.y)[0], rtol=1e-12)


def test_the_comparison_is_told_in_the_users_units() -> None:
    problem = random_problem(8, scaling=Scaling("standard", "minmax"))
    solution = solve(problem, Descent(optimizer=Sgd(0.1), epochs=20))
    last = _coefficients(_trajectory(solution))[-1][:, 0]
    for coefficient, value in zip(solution.report.coefficients, last, strict=True):
        assert coefficient.estimate == value
        assert coefficient.difference == coefficient.estimate - coefficient.reference
        digits = -np.log10(abs(coefficient.difference / coefficient.reference))
        assert coefficient.matching_digits == pytest.approx(max(digits, 0.0), abs=1e-9)
    loss = solution.report.loss
    assert loss.final == pytest.approx(_loss_directly(problem, last[:, None]), rel=1e-12)
    assert loss.excess == pytest.approx(loss.final - loss.reference, rel=1e-9)


@pytest.mark.parametrize("start", [GlorotUniform(), Values(((9.0,), (9.0,), (9.0,)), (9.0,))])
def test_what_the_data_do_not_identify_is_remembered_from_the_start(start: Start) -> None:
    """Rank 1 of 4: descent ends at the least-norm solution plus the start's part outside the row space."""
    problem = random_problem(8, rows=1)
    solution = solve(problem, Descent(optimizer=Sgd(0.1), epochs=5000, start=start))
    record = _trajectory(solution)
    a = problem.design().plain()
    beginning = _coefficients(record)[0]
    expected = np.linalg.pinv(a) @ problem.y + beginning - np.linalg.pinv(a) @ a @ beginning
    np.testing.assert_allclose(_coefficients(record)[-1], expected, rtol=1e-12)
    assert solution.report.reference.rank == 1
    assert not any(c.identified for c in solution.report.coefficients)
    assert "1 of 4" in solution.report.outcome.message


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e300])
@pytest.mark.parametrize("rows", [1, 2, 20])
@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "standard"), Scaling("none", "minmax")])
@pytest.mark.parametrize("solver", [Exact(), Descent(epochs=3), Descent(epochs=3, optimizer=Sgd(1e308))])
def test_numbers_of_any_size_are_answered_without_a_word_on_the_console(
    size: float, rows: int, scaling: Scaling, solver: Exact | Descent, capfd: pytest.CaptureFixture[str]
) -> None:
    """LAPACK complains on the error stream, past Python's warnings."""
    stream = np.random.default_rng(1)
    dataset = Dataset.from_arrays(size * stream.normal(size=(rows, 2)), size * stream.normal(size=(rows, 2)))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), scaling)
    report = solve(problem, solver).report
    assert all(np.isfinite(coefficient.reference) for coefficient in report.coefficients)
    numbers = [*(coefficient.estimate for coefficient in report.coefficients), report.loss.final]
    assert ("null" in report.outcome.message) == (not np.isfinite(numbers).all())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("size", "weight", "strength", "scaling"),
    [
        (1e300, 1.0, 1e-300, Scaling()),
        (1e-300, 1.0, 1e300, Scaling("none", "minmax")),
        (1.0, 1e-300, 1.0, Scaling()),
        (1.0, 1e300, 1.0, Scaling("standard", "standard")),
        (1e-150, 1e-150, 1.0, Scaling("minmax", "minmax")),
        (1e150, 1.0, 1e-10, Scaling("standard", "standard")),
    ],
)
def test_weights_and_penalties_of_any_size_are_answered_without_a_word_on_the_console(
    backend: Backend, size: float, weight: float, strength: float, scaling: Scaling, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = np.random.default_rng(1)
    values = np.column_stack([size * stream.normal(size=(9, 4)), weight * stream.uniform(size=9)])
    names = ("x1", "x2", "y1", "y2", "w")
    model = resolve_model(names, None, None, intercept=True, weights="w")
    descent = Descent(backend=backend, epochs=3, penalty=L2(strength), start=GlorotUniform())
    task = FitTask(model, descent, scaling)
    _hear_the_greetings(backend, capfd)
    check(task, task.problem(Dataset(names, values)))
    report = solve(task.problem(Dataset(names, values)), descent).report
    assert all(np.isfinite(coefficient.reference) for coefficient in report.coefficients)
    numbers = [*(coefficient.estimate for coefficient in report.coefficients), report.loss.final]
    assert ("null" in report.outcome.message) == (not np.isfinite(numbers).all())
    assert capfd.readouterr() == ("", "")


def _hear_the_greetings(backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
    """XLA says once a process, at its first compilation, that it is there."""
    dataset = Dataset.from_columns({"y": [0.0, 1.0]})
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    solve(problem, Descent(backend=backend, epochs=1))
    capfd.readouterr()
