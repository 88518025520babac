"""Option changes that close a gap, each with what is predicted of it and, where it was run, what it came to.

A change is sufficient where its predicted gap is at most `TARGET` of the reference's size. Only small sufficient ones
are named: the first, others that are no larger, and more steps; the exact solver where there is none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from service.fitting.descent.setting import Setting
from service.fitting.diagnosis import changes
from service.fitting.diagnosis.advice import instead_of_descent, proposal
from service.fitting.diagnosis.answer import Cause, Gap, Remedy
from service.fitting.diagnosis.candidates import Candidate, in_order
from service.fitting.diagnosis.end import End, Means
from service.fitting.diagnosis.patches import leaves, patch_to
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.diagnosis.verification import MOST_SECONDS
from service.fitting.solver import Exact

#: Remedies that are named; of a descent in single precision, those that leave it so.
_MOST, _MOST_IN_SINGLE = 3, 2
#: A smaller change that takes so many times as long does not stand for a larger one.
_TIMES_AS_LONG = 100
#: The causes that changing an option takes away, by the option's name in the patch.
TAKES_AWAY = {
    "features": ("features_unscaled", "start_remembered"),
    "targets": ("numbers_out_of_range",),
    "learning_rate": (
        "learning_rate_too_small",
        "learning_rate_too_large",
        "learning_rate_schedule",
        "start_remembered",
    ),
    "momentum": ("collinear_features", "start_remembered"),
    "kind": ("adaptive_step_floor", "optimizer_penalty"),
    "weight_decay": ("weight_decay",),
    "clipnorm": ("gradient_clipping",),
    "clipvalue": ("gradient_clipping",),
    "global_clipnorm": ("gradient_clipping",),
    "use_ema": ("running_mean",),
    "batch_size": ("fixed_batch_order_bias", "gap_carried_by_batches", "minibatch_noise_floor"),
    "dtype": ("float32_floor",),
    "epochs": ("too_few_steps", "collinear_features", "start_remembered"),
    "gradient_tolerance": ("stopped_early",),
    "loss_tolerance": ("stopped_early",),
    "gap_tolerance": ("stopped_early",),
    "max_seconds": ("stopped_early",),
}
#: What costs nothing, or what no option changes.
_STAYS = frozenset({"agrees", "not_identified", "loss_is_before_update", "target_shape_broadcast"})
_DISTURBANCES = frozenset({"weight_decay", "gradient_clipping", "running_mean"})


# What leaves float64 is data here: a gap that is not finite is not sufficient.
@np.errstate(all="ignore")
def remedies(setting: Setting, end: End, causes: Sequence[Cause], means: Means) -> tuple[Remedy, ...]:
    """The smallest sufficient changes first, for the end of a descent and what caused it; none where it agrees.

    The first that can be run within what may be spent on it is run.
    """
    if any(cause.code == "agrees" for cause in causes):
        return ()
    codes = [cause.code for cause in causes if cause.share > 0.0]
    asked = Candidate(setting, means.simulate, end.outlook)
    candidates = list(proposed(asked, end, codes))
    found = [_remedy(asked, candidate, number, codes) for number, candidate in enumerate(candidates)]
    _verify(found, candidates, means)
    if not found or not setting.found.original.is_full_rank:
        found.append(_exact(asked, len(found), codes))
    return _for_every_cause(found, codes)


def proposed(asked: Candidate, end: End, codes: Sequence[str]) -> Iterator[Candidate]:
    """Sufficient candidates, the smallest change first."""
    base = _undisturbed(asked, end, codes)
    with_targets = "numbers_out_of_range" in codes
    if base.is_sufficient and (base is not asked or end.kind == "cancelled"):
        yield base
    elif not base.is_sufficient:
        found = _search(base, with_targets=with_targets)
        yield from found if base.setting.solver.dtype == "float64" else found[:_MOST_IN_SINGLE]
    if base.setting.solver.dtype == "float32":
        doubled = base.changed(changes.in_double(base.setting))
        yield from [doubled] if doubled.is_sufficient else _search(doubled, with_targets=with_targets)[:1]


def _undisturbed(asked: Candidate, end: End, codes: Sequence[str]) -> Candidate:
    """What was asked for, without what keeps it from its way's end, and what draws it from its way."""
    setting = changes.unstopped(asked.setting, asked.target, timed=end.kind != "time_limit")
    if _DISTURBANCES.intersection(codes):
        setting = changes.undisturbed(setting)
    return asked if setting is asked.setting else asked.changed(setting)


def _search(base: Candidate, *, with_targets: bool) -> list[Candidate]:
    """Sufficient changes to what is not."""
    found: list[Candidate] = []
    short: list[Candidate] = []
    for candidates in in_order(base, with_targets=with_targets):
        if _is_quick(found):
            break
        for candidate in candidates:
            if _is_another(base.setting, candidate.setting):
                (found if candidate.is_sufficient else short).append(candidate)
    more = base.lengthened()
    slower = found if more is None else [*found, more]
    if not _is_quick(found):
        found += _first_lengthened(short, min((candidate.seconds for candidate in slower), default=inf))
    return found[:_MOST] if more is None else [*found[: _MOST - 1], more]


def _is_another(before: Setting, after: Setting) -> bool:
    """Whether anything is asked for otherwise."""
    return (before.problem.scaling, before.solver) != (after.problem.scaling, after.solver)


def _is_quick(found: Sequence[Candidate]) -> bool:
    """Whether one of them takes no longer than can be tried at once."""
    return any(candidate.seconds <= MOST_SECONDS for candidate in found)


def _first_lengthened(short: Sequence[Candidate], seconds: float) -> list[Candidate]:
    """The first that is sufficient with more steps, which take far less than what needs less to be changed."""
    for candidate in short:
        longer = candidate.lengthened()
        if longer is not None and longer.seconds * _TIMES_AS_LONG <= seconds:
            return [longer]
    return []


def _remedy(asked: Candidate, candidate: Candidate, number: int, codes: Sequence[str]) -> Remedy:
    patch = patch_to(asked.setting, candidate.setting)
    taken = {code for path in leaves(patch) for code in TAKES_AWAY.get(path[-1], ())}
    return Remedy(
        number=number,
        message=proposal(asked.setting, candidate),
        causes=tuple(code for code in codes if code in taken),
        patch=patch,
        predicted=Gap(candidate.setting.plan.total_steps, candidate.gap),
        measured=None,
    )


def _for_every_cause(found: Sequence[Remedy], codes: Sequence[str]) -> tuple[Remedy, ...]:
    """Causes that are nobody's own belong to the first: it closes the whole gap, and what shares in it."""
    taken = {code for remedy in found for code in remedy.causes}
    left = tuple(code for code in codes if code not in taken and code not in _STAYS)
    return (replace(found[0], causes=(*found[0].causes, *left)), *found[1:])


def _exact(asked: Candidate, number: int, codes: Sequence[str]) -> Remedy:
    nothing_left = Gap(0, 0.0)
    return Remedy(
        number=number,
        message=instead_of_descent(asked),
        causes=tuple(code for code in codes if code not in _STAYS),
        patch=patch_to(asked.setting, Exact(asked.setting.solver.penalty)),
        predicted=nothing_left,
        # It has been run: what it comes to is the reference.
        measured=nothing_left,
    )


def _verify(found: list[Remedy], candidates: Sequence[Candidate], means: Means) -> None:
    """Run the first that can be run, and measure its gap; and the next where that is not as predicted."""
    for place, candidate in enumerate(candidates):
        try:
            found[place] = replace(found[place], measured=means.measure(candidate.setting))
        except TooLong:
            continue
        if found[place].verified:
            return
