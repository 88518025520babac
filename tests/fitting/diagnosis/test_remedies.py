"""Remedies: what is proposed, whether it does what is said of it, and whether its patch asks for just that."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from service.api.mapping import submission_of
from service.api.schemas.request import FitRequest
from service.datasets.cases import case
from service.fitting.data import Dataset
from service.fitting.descent.backends import engine_for
from service.fitting.descent.optimizers import Adam, Adamw, Sgd
from service.fitting.descent.schedules import ExponentialDecay
from service.fitting.descent.setting import Setting
from service.fitting.descent.start import GlorotUniform, Start, Values, Zeros
from service.fitting.diagnosis.answer import Cause, Gap, Remedy
from service.fitting.diagnosis.candidates import TARGET, Candidate
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.end import End, Means
from service.fitting.diagnosis.outlook import outlook
from service.fitting.diagnosis.patches import leaves, merged
from service.fitting.diagnosis.registry import CAUSES
from service.fitting.diagnosis.remedies import TAKES_AWAY, proposed, remedies
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.diagnosis.verification import measured
from service.fitting.exact import references
from service.fitting.loss import Loss
from service.fitting.model import resolve_model
from service.fitting.outcome import OutcomeKind
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.solver import Descent, Exact, Stop
from service.jobs.fits import FitStore
from tests.cases.test_fresh_samples import RATE, Stream
from tests.cases.test_fresh_samples import stream as stream  # the fixture
from tests.fitting.descent.problems import random_problem, solve

SLOPE = 0.8975134728988402


@dataclass(frozen=True, eq=False)
class Asked:
    """A descent that was asked for, and how it ended."""

    setting: Setting
    end: End
    codes: Sequence[str]

    @classmethod
    def of(cls, problem: Problem, solver: Descent, *codes: str, kind: OutcomeKind = "step_limit") -> "Asked":
        setting = Setting.of(problem, solver, references(problem, solver.penalty))
        with np.errstate(all="ignore"):
            seen = outlook(setting, simulate)
            estimate = problem.units.to_user(seen.end)
        return cls(setting, End(kind, seen.steps, seen.end, estimate, np.nan, None, seen), codes)

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        causes = [Cause(code, "", (), {}, 1.0) for code in self.codes]
        return remedies(self.setting, self.end, causes, Means(simulate, _measured))

    @property
    def candidates(self) -> list[Candidate]:
        with np.errstate(all="ignore"):
            return list(proposed(Candidate(self.setting, simulate, self.end.outlook), self.end, self.codes))

    @property
    def target(self) -> float:
        return TARGET * float(np.linalg.norm(self.setting.optimum.parameters))


def _measured(setting: Setting) -> Gap:
    return measured(setting, engine_for, 0.05)


def _of_case(name: str) -> Problem:
    found = case(name)
    assert found is not None
    return _problem(found.dataset())


def _problem(dataset: Dataset, loss: Loss = "mse") -> Problem:
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True), loss=loss)


def _unlike(spread: float = 1e-3, rows: int = 40) -> Problem:
    """Two columns, one of them small."""
    draws = np.random.default_rng(5)
    x = draws.normal(size=(rows, 2)) * [1.0, spread]
    return _problem(Dataset.from_arrays(x, x @ [1.0, 1.0 / spread] + draws.normal(size=rows)[:, None].sum(axis=1)))


def test_what_disturbs_a_schedule_is_left_out_and_the_schedule_stays() -> None:
    # The rate of a schedule is no number that could be named.
    problem = random_problem(1, 45, 2)
    solver = Descent(optimizer=Sgd(ExponentialDecay(0.1, 1000, 0.9), weight_decay=0.05), epochs=3000)
    first, *_ = Asked.of(problem, solver, "weight_decay").remedies
    assert first.patch == {"solver": {"optimizer": {"weight_decay": None}}}
    assert first.message.startswith("Use sgd as it is, without what is added to it: ")


# The public questions.


def test_small_numbers_want_their_units() -> None:
    asked = Asked.of(_of_case("tiny-scale"), Descent(optimizer=Sgd(0.1)), "features_unscaled", "too_few_steps")
    first, more = asked.remedies
    assert first.patch == {"scaling": {"features": "standard"}}
    assert first.causes == ("features_unscaled",)
    assert first.verified
    assert first.predicted.steps == 100
    assert first.message == "Standardise the features: 100 epochs come within 1.83e-10 of the reference."
    patched = asked.setting.with_scaling(replace(asked.setting.problem.scaling, features="standard"))
    assert patched is not None
    slope = solve(patched.problem, patched.solver).report.coefficients[1].estimate
    assert abs(slope - SLOPE) <= first.predicted.gap
    assert set(more.patch["solver"]) == {"epochs"}
    assert more.causes == ("too_few_steps",)
    assert more.number == 1


@pytest.mark.parametrize("start", [Zeros(), GlorotUniform()], ids=lambda start: start.kind)
@pytest.mark.parametrize("batch_size", [64, 1024, None])
def test_collinear_columns_are_told_apart(batch_size: int | None, start: Start) -> None:
    solver = Descent(optimizer=Sgd(0.01), epochs=1000, batch_size=batch_size, start=start)
    asked = Asked.of(_of_case("collinear"), solver, "collinear_features", "start_remembered", "too_few_steps")
    if asked.end.outlook.is_exact and np.linalg.norm(asked.end.estimate - asked.setting.optimum.parameters) < 1e-7:
        assert (batch_size, start) == (None, Zeros())
        return
    found = [remedy for remedy in asked.remedies if remedy.verified]
    assert found
    assert all("kind" not in remedy.patch["solver"] for remedy in found)
    assert all(remedy.measured is not None and remedy.measured.gap < 1e-7 for remedy in found)


def test_starts_that_are_remembered_are_forgotten_with_momentum() -> None:
    solver = Descent(optimizer=Sgd(0.01), epochs=1000, start=GlorotUniform())
    asked = Asked.of(_of_case("collinear"), solver, "collinear_features", "start_remembered")
    first = asked.remedies[0]
    assert set(first.patch["solver"]) == {"optimizer", "epochs"}
    assert set(first.patch["solver"]["optimizer"]) == {"learning_rate", "momentum"}
    assert first.verified
    assert first.causes == ("collinear_features", "start_remembered")


def test_a_rate_that_is_too_large_is_lowered() -> None:
    problem = random_problem(0, rows=50)
    asked = Asked.of(problem, Descent(optimizer=Sgd(3.0)), "learning_rate_too_large", kind="diverged")
    first = asked.remedies[0]
    assert leaves(first.patch) == {("solver", "optimizer", "learning_rate")}
    assert first.message.startswith("Lower the learning rate to 0.")
    assert first.causes == ("learning_rate_too_large",)
    assert first.verified


def test_a_stream_of_fresh_samples_goes_on(stream: Stream) -> None:
    weights, intercept = stream.start
    start = Values(tuple(map(tuple, weights.T.tolist())), tuple(intercept.tolist()))
    problem = _problem(Dataset.from_arrays(stream.samples, stream.seen(stream.samples)), "sum_squares")
    solver = Descent(optimizer=Sgd(RATE), epochs=1, batch_size=1, start=start)
    asked = Asked.of(problem, solver, "too_few_steps", "start_remembered")
    more = next(remedy for remedy in asked.remedies if leaves(remedy.patch) == {("solver", "epochs")})
    assert more.causes == ("too_few_steps", "start_remembered")
    assert _as_predicted(_measured(_patched(asked, more)), more.predicted)


def _patched(asked: Asked, remedy: Remedy) -> Setting:
    return asked.candidates[remedy.number].setting


def _as_predicted(came: Gap, predicted: Gap) -> bool:
    return came.steps == predicted.steps and came.gap <= 1.001 * predicted.gap


# What leads elsewhere, and what cannot be helped.


def test_batches_that_lead_elsewhere_give_way_to_all_rows() -> None:
    solver = Descent(optimizer=Sgd(0.1), batch_size=10, epochs=2000)
    first = Asked.of(random_problem(0, rows=50), solver, "fixed_batch_order_bias").remedies[0]
    assert first.patch == {"solver": {"batch_size": None}}
    assert first.causes == ("fixed_batch_order_bias",)
    assert first.verified


def test_shuffles_that_never_settle_give_way_to_all_rows() -> None:
    solver = Descent(optimizer=Sgd(0.1), batch_size=10, shuffle=True, epochs=2000)
    first = Asked.of(random_problem(0, rows=50), solver, "minibatch_noise_floor").remedies[0]
    assert first.patch == {"solver": {"batch_size": None}}
    assert first.verified


def test_an_optimizer_whose_steps_do_not_shrink_gives_way_to_sgd() -> None:
    asked = Asked.of(random_problem(0, rows=50), Descent(optimizer=Adam(0.1), epochs=200), "adaptive_step_floor")
    first = asked.remedies[0]
    optimizer = first.patch["solver"]["optimizer"]
    assert optimizer["kind"] == "sgd"
    assert {name for name, value in optimizer.items() if value is None} == {"beta_1", "beta_2", "epsilon", "amsgrad"}
    assert first.causes == ("adaptive_step_floor",)
    assert first.verified


def test_decay_is_left_out() -> None:
    solver = Descent(optimizer=Sgd(0.3, weight_decay=0.1), epochs=300)
    first = Asked.of(random_problem(0, rows=50), solver, "weight_decay").remedies[0]
    assert first.patch == {"solver": {"optimizer": {"weight_decay": None}}}
    assert first.verified


def test_adamw_without_its_decay_is_adam() -> None:
    solver = Descent(optimizer=Adamw(0.1, weight_decay=0.5), epochs=200)
    asked = Asked.of(random_problem(0, rows=50), solver, "weight_decay")
    assert asked.remedies
    assert all(remedy.patch["solver"]["optimizer"]["weight_decay"] is None for remedy in asked.remedies)
    assert all(remedy.patch["solver"]["optimizer"]["kind"] != "adamw" for remedy in asked.remedies)


def test_a_rule_that_stopped_it_is_left_out_and_one_that_would_not_stays() -> None:
    solver = Descent(optimizer=Sgd(0.3), epochs=300, stop=Stop(loss_tolerance=1e-2, gap_tolerance=1e-12))
    first = Asked.of(random_problem(0, rows=50), solver, "stopped_early", kind="converged").remedies[0]
    assert first.patch == {"solver": {"stop": {"loss_tolerance": None}}}
    assert first.causes == ("stopped_early",)
    assert first.verified


def test_single_precision_is_offered_what_it_can_hold_and_double() -> None:
    solver = Descent(optimizer=Sgd(0.1), dtype="float32")
    found = Asked.of(_of_case("tiny-scale"), solver, "features_unscaled", "float32_floor").remedies
    assert found[0].patch == {"scaling": {"features": "standard"}}
    assert found[-1].patch["solver"]["dtype"] == "float64"
    assert found[-1].predicted.gap < found[0].predicted.gap
    assert "float32_floor" in found[-1].causes


def test_where_rows_are_missing_only_the_exact_solver_is_left_and_says_so() -> None:
    problem = _of_case("single-sample")
    start = GlorotUniform()
    found = Asked.of(problem, Descent(start=start), "not_identified", "start_remembered").remedies
    assert [remedy.patch["solver"]["kind"] for remedy in found] == ["exact"]
    assert "least norm" in found[0].message
    assert "more rows" in found[0].message
    assert found[0].causes == ("start_remembered",)


def test_what_nobody_would_wait_for_is_not_proposed() -> None:
    """Twelve powers of numbers near each other: the slowest direction takes more steps than there are."""
    x = np.linspace(1.0, 1.2, 60)
    dataset = Dataset.from_arrays(x[:, None], np.cos(40.0 * x)[:, None])
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True, degree=8))
    asked = Asked.of(problem, Descent(optimizer=Sgd(0.1)), "collinear_features", "too_few_steps")
    (only,) = asked.remedies
    assert only.patch["solver"]["kind"] == "exact"
    assert only.verified


def test_nothing_is_proposed_where_it_agrees() -> None:
    assert Asked.of(random_problem(0), Descent(optimizer=Sgd(0.3), epochs=1000), "agrees").remedies == ()


def test_it_is_run_only_where_that_is_quickly_done() -> None:
    asked = Asked.of(_of_case("tiny-scale"), Descent(optimizer=Sgd(0.1)), "features_unscaled")

    def nobody(_: Setting) -> Gap:
        raise TooLong

    causes = [Cause(code, "", (), {}, 1.0) for code in asked.codes]
    for remedy in remedies(asked.setting, asked.end, causes, Means(simulate, nobody)):
        assert remedy.measured is None
        assert not remedy.verified


# All of them.

TABLE: dict[str, tuple[Problem, Descent]] = {
    "small column": (_unlike(), Descent(optimizer=Sgd(0.1))),
    "small column, no intercept": (
        Problem(_unlike().dataset, resolve_model(_unlike().dataset.names, None, None, intercept=False)),
        Descent(optimizer=Sgd(0.1)),
    ),
    "slow": (random_problem(1), Descent(optimizer=Sgd(1e-4))),
    "too large": (random_problem(2), Descent(optimizer=Sgd(2.0))),
    "steps, not epochs": (random_problem(3), Descent(optimizer=Sgd(0.01), max_steps=7, batch_size=5)),
    "in order": (random_problem(4), Descent(optimizer=Sgd(0.05), batch_size=5)),
    "shuffled": (random_problem(5), Descent(optimizer=Sgd(0.05), batch_size=5, shuffle=True)),
    "momentum": (random_problem(6), Descent(optimizer=Sgd(0.001, 0.5))),
    "schedule": (random_problem(7), Descent(optimizer=Sgd(ExponentialDecay(0.1, 10, 0.5)))),
    "adam": (_unlike(0.1), Descent(optimizer=Adam(0.001))),
    "stopped": (random_problem(8), Descent(optimizer=Sgd(0.01), stop=Stop(gradient_tolerance=0.1, max_seconds=9.0))),
    "float32": (_unlike(), Descent(optimizer=Sgd(0.1), dtype="float32")),
    "two targets": (random_problem(9, targets=2), Descent(optimizer=Sgd(0.01))),
    "penalised": (random_problem(10), Descent(optimizer=Sgd(0.01), penalty=L2(0.1))),
    "weighted": (random_problem(11, weighted=True), Descent(optimizer=Sgd(0.01), batch_size=6, drop_last=True)),
    "clipped": (random_problem(12), Descent(optimizer=Sgd(0.01, clipnorm=0.1))),
    "running mean": (random_problem(13), Descent(optimizer=Sgd(0.3, use_ema=True))),
}
_ANY = ("features_unscaled", "learning_rate_too_small", "too_few_steps", "stopped_early", "running_mean")


@pytest.mark.parametrize("name", TABLE)
def test_remedies_do_what_is_said_of_them(name: str) -> None:
    asked = Asked.of(*TABLE[name], *_ANY)
    found, candidates = asked.remedies, asked.candidates
    assert found
    assert len(found) <= 3
    assert [remedy.number for remedy in found] == list(range(len(found)))
    assert found[0].verified
    for remedy, candidate in zip(found, candidates, strict=True):
        assert remedy.predicted.gap <= candidate.target
        came = measured(candidate.setting, engine_for, 1.0)
        assert _as_predicted(came, remedy.predicted), (came, remedy.predicted)


@pytest.mark.parametrize("name", TABLE)
def test_a_patched_request_asks_for_what_was_predicted(name: str) -> None:
    asked = Asked.of(*TABLE[name], *_ANY)
    request = _request(asked.setting)
    for remedy, candidate in zip(asked.remedies, asked.candidates, strict=True):
        task = _task(asked.setting, merged(request, remedy.patch))
        assert task.solver == candidate.setting.solver
        assert task.scaling == candidate.setting.problem.scaling


def test_a_patch_to_the_exact_solver_asks_for_just_that() -> None:
    asked = Asked.of(_of_case("single-sample"), Descent(start=GlorotUniform()), "not_identified")
    (only,) = asked.remedies
    assert _task(asked.setting, merged(_request(asked.setting), only.patch)).solver == Exact()


def test_what_is_taken_away_are_causes() -> None:
    assert {code for codes in TAKES_AWAY.values() for code in codes} <= set(CAUSES)


def _request(setting: Setting) -> dict[str, Any]:
    """The request as it is answered."""
    solver = asdict(setting.solver)
    model = {"features": list(setting.problem.model.features), "intercept": setting.problem.model.intercept}
    body = {"data": _data(setting), "model": model, "scaling": vars(setting.problem.scaling), "solver": solver}
    submission = asyncio.run(submission_of(FitRequest.model_validate(body), _NoDatasets(), cast(FitStore, None)))
    assert submission.asked.task.solver == setting.solver
    return dict(submission.asked.request)


def _task(setting: Setting, request: dict[str, Any]) -> Any:
    body = FitRequest.model_validate({**request, "data": _data(setting)})
    return asyncio.run(submission_of(body, _NoDatasets(), cast(FitStore, None))).asked.task


def _data(setting: Setting) -> dict[str, Any]:
    dataset = setting.problem.dataset
    return {"columns": {name: dataset.columns((name,))[:, 0].tolist() for name in dataset.names}}


class _NoDatasets:
    """All data are inline."""

    async def get(self, dataset_id: str) -> Dataset | None:  # noqa: ARG002
        return None
