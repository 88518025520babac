"""Random problems, from easy ones to such as no descent solves: what is said of a fit is what runs of it show.

Every problem is drawn with the seed that stands in its test's name: rows from 1 to 100 000, a condition from 1 to
10^12, every optimizer, batches of all kinds. Each cause is a claim about another run; that run is made.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Optimizer, Sgd
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.registry import AGREEMENT, CAUSES
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solution import Report
from service.fitting.solver import Descent
from tests.fitting.descent.problems import Solved, solve

OPTIMIZERS = get_args(Optimizer)
SEEDS = range(20)


def _problem(stream: np.random.Generator) -> Problem:
    """Columns with a spread of sizes and directions that a condition number is made of, and noise or none."""
    rows, features = int(10 ** stream.uniform(0, 5)), int(stream.integers(1, 6))
    turned, _ = np.linalg.qr(stream.normal(size=(features, features)))
    sizes = 10.0 ** np.linspace(0, -stream.uniform(0, 12), features)
    x = (stream.normal(size=(rows, features)) * sizes) @ turned.T
    y = x @ stream.normal(size=(features, 1)) + stream.uniform(-1, 1)
    y += stream.choice([0.0, 0.1]) * stream.normal(size=(rows, 1))
    dataset = Dataset.from_arrays(x, y)
    scaling = Scaling("standard") if stream.uniform() < 0.3 else Scaling()
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), scaling)


def _descent(stream: np.random.Generator, seed: int, rows: int) -> Descent:
    kind = OPTIMIZERS[seed % len(OPTIMIZERS)] if seed % 2 else Sgd
    rate = float(10 ** stream.uniform(-4, 0))
    optimizer = kind(learning_rate=rate)
    if isinstance(optimizer, Sgd) and stream.uniform() < 0.4:
        optimizer = replace(optimizer, momentum=float(stream.choice([0.5, 0.9])))
    batch_size = None if stream.uniform() < 0.4 else max(rows // int(stream.integers(1, 20)), 1)
    steps_per_epoch = 1 if batch_size is None else -(-rows // batch_size)
    return Descent(
        dtype=str(stream.choice(["float64", "float64", "float32"])),  # type: ignore[arg-type]
        optimizer=optimizer,
        epochs=max(int(stream.choice([1, 30, 300]) / steps_per_epoch), 1),
        batch_size=batch_size,
        shuffle=bool(stream.uniform() < 0.4),
        seed=seed,
    )


def _gap(report: Report) -> float:
    return float(np.linalg.norm([c.difference for c in report.coefficients]))


def _agreement(report: Report) -> float:
    return AGREEMENT * (float(np.linalg.norm([c.reference for c in report.coefficients])) or 1.0)


class _Run:
    """A problem with its descent, and the same with something else."""

    def __init__(self, problem: Problem, descent: Descent) -> None:
        self.problem, self.descent = problem, descent
        self.solved: Solved = solve(problem, descent)
        self.gap = _gap(self.solved.report)

    def gap_with(self, scaling: Scaling | None = None, **changes: object) -> float:
        descent = replace(self.descent, **changes)  # type: ignore[arg-type]
        problem = self.problem if scaling is None else replace(self.problem, scaling=scaling)
        return _gap(solve(problem, descent).report)

    def with_rate(self, rate: float) -> Optimizer:
        return replace(self.descent.optimizer, learning_rate=rate)


def _says_more_steps(run: _Run, cause: Cause) -> None:
    # Where it takes a million times as many, ten times as many do not move the last digit.
    assert run.gap_with(epochs=10 * run.descent.epochs) <= run.gap
    assert cause.numbers["steps"] == run.solved.report.outcome.steps


def _says_smaller_rate_than_best(run: _Run, cause: Cause) -> None:
    best = cause.numbers["best_learning_rate"]
    assert best is not None
    assert best > cause.numbers["learning_rate"]  # type: ignore[operator]
    assert run.gap_with(optimizer=run.with_rate(best)) < run.gap


def _says_too_large(run: _Run, cause: Cause) -> None:
    best = cause.numbers["best_learning_rate"]
    if best is None:
        assert run.solved.report.outcome.kind == "diverged"
        return
    with np.errstate(all="ignore"):
        assert not run.gap_with(optimizer=run.with_rate(best)) >= run.gap


def _says_unscaled(run: _Run, cause: Cause) -> None:
    rate, gap = cause.numbers["learning_rate_scaled"], cause.numbers["gap_scaled"]
    assert rate is not None
    assert gap is not None
    measured = run.gap_with(Scaling("standard", run.problem.scaling.targets), optimizer=run.with_rate(rate))
    assert measured < run.gap


def _says_order(run: _Run, cause: Cause) -> None:
    assert cause.numbers["bias"]
    assert run.solved.report.outcome.steps > 0
    assert run.descent.batch_size is not None
    assert not run.descent.shuffle


def _says_chance(run: _Run, cause: Cause) -> None:
    other = _gap(solve(run.problem, replace(run.descent, seed=run.descent.seed + 1000)).report)
    sd = cause.numbers["sd"]
    assert sd is not None
    assert abs(other - run.gap) <= 12 * sd


def _says_precision(run: _Run, cause: Cause) -> None:
    if cause.code == "float32_floor":
        assert run.descent.dtype == "float32"
        assert run.gap_with(dtype="float64") < run.gap


def _says_unidentified(run: _Run, cause: Cause) -> None:
    assert cause.numbers["rank"] == run.solved.report.reference.rank
    assert run.solved.report.reference.rank < run.solved.report.reference.parameters


def _says_without_decay(run: _Run, cause: Cause) -> None:
    assert cause.numbers["weight_decay"]
    assert run.gap_with(optimizer=replace(run.descent.optimizer, weight_decay=None)) < run.gap


CLAIMS: dict[str, Callable[[_Run, Cause], None]] = {
    "too_few_steps": _says_more_steps,
    "learning_rate_too_small": _says_smaller_rate_than_best,
    "learning_rate_too_large": _says_too_large,
    "features_unscaled": _says_unscaled,
    "fixed_batch_order_bias": _says_order,
    "minibatch_noise_floor": _says_chance,
    "float32_floor": _says_precision,
    "not_identified": _says_unidentified,
    "weight_decay": _says_without_decay,
}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_cause_contradicts_the_run(seed: int) -> None:
    stream = np.random.default_rng(5_000 + seed)
    problem = _problem(stream)
    run = _Run(problem, _descent(stream, seed, problem.dataset.rows))
    report = run.solved.report
    causes = report.diagnosis.causes
    assert causes
    assert {c.code for c in causes} <= set(CAUSES)
    assert [c.share for c in causes] == sorted((c.share for c in causes), reverse=True)
    assert ("agrees" in {c.code for c in causes}) == (run.gap <= _agreement(report))
    if "agrees" not in {c.code for c in causes}:
        assert causes[0].share > 0.0
    for cause in causes:
        assert 0.0 <= cause.share <= 1.0
        if cause.share > 0.05 and cause.code in CLAIMS:
            CLAIMS[cause.code](run, cause)
    for remedy in report.diagnosis.remedies:
        assert remedy.verified == (remedy.measured is not None and remedy.measured.gap <= 1.001 * remedy.predicted.gap)
