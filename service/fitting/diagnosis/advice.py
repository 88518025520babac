"""Remedies in words: what to change, and what it comes to. At most four numbers each."""

from collections.abc import Iterator

from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.candidates import Candidate
from service.fitting.diagnosis.words import count, number


def proposal(before: Setting, candidate: Candidate) -> str:
    """What a candidate changes, and how near it comes."""
    clauses = list(_clauses(before, candidate.setting)) or ["let it run to its end"]
    words = clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])}, and {clauses[-1]}"
    way = _way(candidate.setting.plan)
    return f"{words[0].upper()}{words[1:]}: {way} within {number(candidate.gap)} of the reference."


def _way(plan: BatchPlan) -> str:
    """All steps, in epochs where they end with one."""
    is_whole = plan.ends_epoch(plan.total_steps)
    length, unit = (plan.epochs_ended(plan.total_steps), "epoch") if is_whole else (plan.total_steps, "step")
    return f"1 {unit} comes" if length == 1 else f"{count(length)} {unit}s come"


def _clauses(before: Setting, after: Setting) -> Iterator[str]:
    old, new = before.solver, after.solver
    if before.problem.scaling != after.problem.scaling:
        yield _scaling(before, after)
    if old.batch_size != new.batch_size:
        yield "take all rows in every step"
    if old.optimizer != new.optimizer:
        yield _optimizer(before, after)
    if old.dtype != new.dtype:
        yield "compute in double precision"
    if old.stop != new.stop:
        yield "leave out what stopped it"
    if (old.epochs, old.max_steps) != (new.epochs, new.max_steps):
        yield "go on for longer"


def _scaling(before: Setting, after: Setting) -> str:
    is_both = before.problem.scaling.targets != after.problem.scaling.targets
    columns = "the features and the targets" if is_both else "the features"
    is_standard = after.problem.scaling.features == "standard"
    return f"standardise {columns}" if is_standard else f"divide {columns} by their largest size"


def _optimizer(before: Setting, after: Setting) -> str:
    old, new = before.solver.optimizer, after.solver.optimizer
    if old.kind == new.kind and old.learning_rate == new.learning_rate and not _has_momentum(before, after):
        return f"use {new.kind} as it is, without what is added to it"
    rate = f"learning rate {number(_rate(after))}"
    if _has_momentum(before, after):
        assert isinstance(new, Sgd)
        return f"use {'' if old.kind == 'sgd' else 'sgd with '}momentum {number(new.momentum)} and {rate}"
    if old.kind != new.kind:
        return f"use {new.kind} with {rate}"
    if isinstance(old.learning_rate, float | int):
        return f"{'raise' if _rate(after) > old.learning_rate else 'lower'} the learning rate to {number(_rate(after))}"
    return f"use the same {rate} in all steps"


def _has_momentum(before: Setting, after: Setting) -> bool:
    """Whether it is given a momentum that it did not have."""
    new = after.solver.optimizer
    return isinstance(new, Sgd) and new.momentum not in (0.0, getattr(before.solver.optimizer, "momentum", 0.0))


def _rate(setting: Setting) -> float:
    rate = setting.solver.optimizer.learning_rate
    assert isinstance(rate, float | int)
    return float(rate)


def instead_of_descent(asked: Candidate) -> str:
    """Why the exact solver is named."""
    if not asked.setting.found.original.is_full_rank:
        return (
            "The exact solver gives the solution of least norm at once. "
            "Which of the many that fit as well is the right one, only more rows can say."
        )
    if asked.floor > asked.target:
        precision = asked.setting.solver.dtype
        return f"Ask for the exact solver: rounding keeps a {precision} descent at {number(asked.floor)} from it."
    return "Ask for the exact solver: no change to this descent was found that closes the gap in a time to wait for."
