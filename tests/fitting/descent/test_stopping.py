"""How descents end before their last step, on every engine: where, why, and what is kept."""

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.descent.optimizers import Adam, Sgd
from service.fitting.fit import fit
from service.fitting.recording import Recording
from service.fitting.solver import Descent, Stop
from service.fitting.task import Collector, Progress
from service.fitting.trajectory import Trajectory
from tests.fitting.descent.problems import random_problem, solve

#: Descents that go on for long, by the engine that takes their steps while a rule looks at them.
ENGINES = {
    "numpy_statistics": Descent(optimizer=Sgd(0.02, 0.5), batch_size=5, epochs=4000),
    "numpy_rows": Descent(optimizer=Sgd(0.02, 0.5), batch_size=5, epochs=4000, shuffle=True),
    "tensorflow_xla": Descent(backend="tensorflow", optimizer=Sgd(0.02, 0.5), batch_size=5, epochs=4000),
}
NEVER = Stop(gap_tolerance=0.0)


def _with(descent: Descent, **parts: object) -> Descent:
    return Descent(**{**vars(descent), **parts})


def _whole(trajectory: Trajectory | None) -> Trajectory:
    assert trajectory is not None
    return trajectory


def _looked_at(rule: str, record: Trajectory) -> FloatArray:
    """What a rule looks at, at each epoch's end."""
    if rule == "gradient_tolerance":
        return record.gradient_norm[1:]
    if rule == "gap_tolerance":
        return record.original.gap[1:]
    return np.abs(np.diff(record.original.loss[1:], prepend=np.nan))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rule", ["gradient_tolerance", "loss_tolerance", "gap_tolerance"])
@pytest.mark.parametrize("around", [1, 40, 700])
def test_a_rule_ends_a_descent_at_the_first_epoch_that_meets_it(engine: str, rule: str, around: int) -> None:
    """With a tolerance that is met to the last bit, in the first block of steps and in later ones."""
    problem = random_problem(2)
    whole = _whole(solve(problem, _with(ENGINES[engine], stop=NEVER, epochs=800)).trajectory)
    numbers = _looked_at(rule, whole)
    tolerance = float(np.fmin.reduce(numbers[: around + 1]))
    first = int((numbers <= tolerance).argmax())
    stopped = solve(problem, _with(ENGINES[engine], stop=Stop(**{rule: tolerance})), Recording("step"))
    outcome, record = stopped.report.outcome, _whole(stopped.trajectory)
    assert (stopped.report.engine, outcome.kind, outcome.epochs) == (engine, "converged", first + 1)
    assert outcome.steps == record.total_steps == record.recorded - 1 == (first + 1) * 5
    assert f"epoch {first + 1}: " in outcome.message
    assert f"{rule} {tolerance:g}" in outcome.message
    np.testing.assert_array_equal(record.take(slice(0, None, 5)).records, whole.take(slice(first + 2)).records)
    assert stopped.report.loss.final == record.original.loss[-1]


def test_all_rules_that_are_met_are_named_and_others_not() -> None:
    stop = Stop(gradient_tolerance=1e-3, loss_tolerance=1e9, gap_tolerance=1e9)
    message = solve(random_problem(2), Descent(stop=stop)).report.outcome.message
    assert message.startswith("A stop rule was met at the end of epoch 1: the gap to the reference is 1.6")
    assert "gap_tolerance 1e+09." in message
    assert "loss_tolerance" not in message
    assert "gradient_tolerance" not in message
    again = Stop(gradient_tolerance=1e9, gap_tolerance=1e9)
    message = solve(random_problem(2), Descent(stop=again)).report.outcome.message
    assert "gradient_tolerance 1e+09; the gap" in message


def test_the_first_epoch_has_no_change_of_the_loss() -> None:
    outcome = solve(random_problem(2), Descent(stop=Stop(loss_tolerance=1e9))).report.outcome
    assert (outcome.kind, outcome.epochs) == ("converged", 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_thinned_recording_of_a_descent_that_ends_early_keeps_what_there_is(engine: str) -> None:
    problem = random_problem(2)
    slow = _with(ENGINES[engine], optimizer=Sgd(0.002))
    whole = _whole(solve(problem, _with(slow, stop=NEVER, epochs=300)).trajectory)
    descent = _with(slow, epochs=10**6, stop=Stop(gradient_tolerance=float(whole.gradient_norm.min())))
    stopped = solve(problem, descent, Recording(5, limit=5_000))
    again = solve(problem, descent, Recording(5, limit=40))
    everything, some = _whole(stopped.trajectory), _whole(again.trajectory)
    assert everything.recorded == stopped.report.outcome.epochs + 1 > 100
    assert 20 <= some.recorded <= 40
    assert some.total_steps == everything.total_steps
    gaps = np.diff(some.step[:-1])
    assert len(np.unique(gaps)) <= 2  # one more where the row of least loss is none of the evenly spaced
    assert some.original.loss.min() == everything.original.loss.min()
    places = np.searchsorted(everything.step, some.step)
    np.testing.assert_array_equal(everything.take(places).records, some.records)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_time_limit_ends_a_descent_that_would_go_on(engine: str) -> None:
    descent = _with(ENGINES[engine], optimizer=Adam(), epochs=10**9, stop=Stop(max_seconds=0.2))
    solved = solve(random_problem(2), descent, Recording(10**9))
    outcome = solved.report.outcome
    assert outcome.kind == "time_limit"
    assert "s of descent, where 0.2 s are allowed." in outcome.message
    assert outcome.steps > 0
    assert _whole(solved.trajectory).total_steps == outcome.steps


class _Impatient(Collector):
    """Stops the fit when it has been told of progress so many times."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.seen: list[Progress] = []
        self._most = most

    def progress(self, progress: Progress) -> bool:
        self.seen.append(progress)
        return len(self.seen) < self._most


@pytest.mark.parametrize("engine", ENGINES)
def test_progress_is_reported_and_can_stop_the_fit(engine: str) -> None:
    observer = _Impatient(3)
    descent = _with(ENGINES[engine], optimizer=Adam(), epochs=10**9)
    solution = fit(random_problem(2), descent, Recording(10**9), observer)
    steps = [progress.steps_done for progress in observer.seen]
    assert len(steps) == 3
    assert steps == sorted(set(steps))
    outcome, record = solution.report.outcome, _whole(observer.trajectory)
    assert (outcome.kind, outcome.steps) == ("cancelled", steps[-1])
    assert observer.seen[-1].loss == record.original.loss[-1] == solution.report.loss.final
    assert record.step.tolist() == [0, steps[-1]]


def test_who_stops_a_fit_with_its_last_step_is_too_late() -> None:
    observer = _Impatient(1)
    solution = fit(random_problem(2), Descent(epochs=3), Recording(), observer)
    assert (solution.report.outcome.kind, solution.report.outcome.steps) == ("step_limit", 3)


@pytest.mark.parametrize("engine", [*ENGINES, "numpy_closed_form"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("limit", [2, 3, 10, 10_000])
def test_divergence_keeps_everything_finite_within_the_limit(engine: str, dtype: str, limit: int) -> None:
    problem = random_problem(2)
    shape = _with(ENGINES[engine], stop=NEVER) if engine in ENGINES else Descent()
    descent = _with(shape, dtype=dtype, optimizer=Sgd(1e3), epochs=10**6)
    everything = solve(problem, descent, Recording("step", limit=2**20))
    thinned = solve(problem, descent, Recording("step", limit=limit))
    outcome, record, whole = thinned.report.outcome, _whole(thinned.trajectory), _whole(everything.trajectory)
    assert (outcome.kind, outcome.steps) == ("diverged", everything.report.outcome.steps)
    assert 5 < outcome.steps < 200
    np.testing.assert_array_equal(whole.step, np.arange(outcome.steps + 1))
    np.testing.assert_array_equal(whole.take(record.step).records, record.records)
    assert record.recorded <= limit
    assert (record.step[0], record.step[-1]) == (0, outcome.steps)
    if limit > outcome.steps:
        assert record.recorded == whole.recorded
    assert np.isfinite(whole.original.batch_loss[1:]).all()
    assert np.isfinite(whole.original.loss[:-1]).all()
