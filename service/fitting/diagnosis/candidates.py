"""Changed settings and what becomes of them: which of them close the gap, the smallest changes first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import hypot, inf, isfinite

from service.fitting.arrays import FloatArray, length
from service.fitting.descent.closed_form import is_affine
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis import changes
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.outlook import FURTHER, outlook
from service.fitting.diagnosis.precision import precision_floor
from service.fitting.diagnosis.simulation import Simulate, TooLong
from service.fitting.diagnosis.verification import stepping_seconds

#: The gap that counts as closed, over the reference's own length; absolute where that is 0.
TARGET = 1e-8
#: The same where single precision can do no better.
_MOST_IN_SINGLE = 1e-5
#: How far an end that hangs on chance may be off beyond its mean, in standard deviations.
_CHANCE = 3.0
#: What rounding leaves is estimated: it was up to three times as much as that.
_ROUNDING = 4.0
#: A descent is proposed to nobody who would have to wait longer for it, in seconds.
_MOST_WAITED = 30.0
#: Beyond so many steps affine ones are no longer taken one by one.
_MOST_TAKEN = 1 << 28


@dataclass(frozen=True, eq=False)
class Candidate:
    """A setting that may be proposed, and what will become of it. Gaps are in the user's units."""

    setting: Setting
    simulate: Simulate
    seen: Outlook | None = None

    @cached_property
    def outlook(self) -> Outlook | None:
        """What has been seen of it, or can be now; None where nobody can say."""
        if self.seen is not None:
            return self.seen
        try:
            return outlook(self.setting, self.simulate, FURTHER, ends_first=True)
        except TooLong:
            return None

    @cached_property
    def floor(self) -> float:
        """What rounding may leave of the gap at most; 0 where nobody can say."""
        return 0.0 if self.outlook is None else _ROUNDING * precision_floor(self.setting, self.outlook)

    @cached_property
    def target(self) -> float:
        """The gap that counts as closed; in float32 twice what rounding leaves, within bounds, if that is more."""
        size = self._size
        is_single = self.setting.solver.dtype == "float32"
        return max(TARGET * size, min(2.0 * self.floor, _MOST_IN_SINGLE * size)) if is_single else TARGET * size

    @cached_property
    def gap(self) -> float:
        """In the end, with what rounding may add; infinite where it is not known."""
        if self._unrounded == inf or self.outlook is None or self.outlook.is_stable is False:
            return inf
        # A stop rule that is kept ends it there.
        tolerance = self.setting.solver.stop.gap_tolerance or 0.0
        gap = max(self._unrounded + self.floor, tolerance)
        return gap if isfinite(gap) else inf

    @cached_property
    def _unrounded(self) -> float:
        """In the end, without what rounding may add; likewise."""
        seen = self.outlook
        if seen is None or seen.steps < self.setting.plan.total_steps:
            return inf
        gap = hypot(self._away(seen.end), _CHANCE * length(seen.end_sd))
        return gap if isfinite(gap) else inf

    @property
    def is_sufficient(self) -> bool:
        # Mostly it is not by far: what rounding may add, and whether it stays there, need not be known.
        return self._unrounded <= self._most_target and self.gap <= self.target

    @property
    def _most_target(self) -> float:
        """What `target` is at most."""
        return (_MOST_IN_SINGLE if self.setting.solver.dtype == "float32" else TARGET) * self._size

    @cached_property
    def _size(self) -> float:
        """Of the reference; 1 where that is 0."""
        return length(self.setting.optimum.parameters) or 1.0

    @property
    def leads_elsewhere(self) -> bool:
        """Whether it leads to somewhere else than the reference, or to nowhere in particular."""
        seen = self.outlook
        if seen is None or seen.limit is None:
            return False
        return hypot(self._away(seen.limit), length(seen.limit_sd)) > self.target

    def changed(self, setting: Setting) -> "Candidate":
        """Another setting instead."""
        return Candidate(setting, self.simulate)

    def lengthened(self) -> "Candidate | None":
        """The same with as many epochs as are sufficient; None where they are not, or take too long to wait for."""
        seen, left = self.outlook, self.target - self.floor
        steps = None if seen is None or left <= 0.0 else seen.steps_until(left)
        if steps is None:
            return None
        candidate = self.changed(changes.longer(self.setting, steps))
        return candidate if candidate.seconds <= _MOST_WAITED and candidate.is_sufficient else None

    @cached_property
    def seconds(self) -> float:
        """What its steps take at most, by the sums of fixed batches or by rows."""
        plan, solver = self.setting.plan, self.setting.solver
        jumps = is_affine(self.setting.beginning.rule) and not (plan.reshuffles or solver.stop.looks_at_epochs)
        most = _MOST_TAKEN if jumps and solver.backend == "numpy" else None
        return stepping_seconds(self.setting, by_rows=plan.reshuffles, most_steps=most)

    def _away(self, parameters: FloatArray) -> float:
        found = self.setting.problem.units.to_user(parameters) - self.setting.optimum.parameters
        return length(found)


def in_order(asked: Candidate, *, with_targets: bool) -> Iterator[Iterable[Candidate]]:
    """Changes to what was asked for, each of as many epochs; a few at a time, the smallest ones first.

    One of its scaling and its learning rate, both; then every step by all rows, with none, one or both of these; then
    momentum by all rows, with scaling or without. Units are changed where that makes the loss more alike in all
    directions, those of the targets `with_targets`.
    """
    scaled = _scaled(asked, with_targets=with_targets)
    if not asked.leads_elsewhere:
        yield chain(scaled, _rated(asked))
        yield _rated(*scaled)
    if asked.setting.plan.steps_per_epoch > 1:
        asked = asked.changed(changes.by_all_rows(asked.setting))
        scaled = _scaled(asked, with_targets=with_targets)
        yield [asked]
        yield chain(scaled, _rated(asked))
        yield _rated(*scaled)
    yield _pushed(asked, *scaled)


def _scaled(asked: Candidate, *, with_targets: bool) -> list[Candidate]:
    setting = changes.standardised(asked.setting, targets=with_targets)
    return [] if setting is None else [asked.changed(setting)]


def _rated(*candidates: Candidate) -> Iterator[Candidate]:
    for candidate in candidates:
        # Of other optimizers no closed form says the best rate: nothing need be known of them.
        knows = isinstance(candidate.setting.solver.optimizer, Sgd)
        rated = changes.at_best_rate(candidate.setting, candidate.outlook if knows else None)
        if rated is not None:
            yield candidate.changed(rated)


def _pushed(*candidates: Candidate) -> Iterator[Candidate]:
    for candidate in candidates:
        pushed = changes.with_momentum(candidate.setting)
        if pushed is not None:
            yield candidate.changed(pushed)
