"""What causes are computed from: the end of a descent, its gap, and what other settings would have come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import hypot, inf, isfinite, isnan
from typing import Any, SupportsFloat

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray, length
from service.fitting.descent.account import Account
from service.fitting.descent.schedules import rates
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import Cause, Direction
from service.fitting.diagnosis.directions import directions
from service.fitting.diagnosis.end import End, Means
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.frame import in_users_units
from service.fitting.diagnosis.outlook import outlook
from service.fitting.diagnosis.precision import precision_floor
from service.fitting.diagnosis.registry import AGREEMENT, LEAST_SHARE
from service.fitting.diagnosis.simulated import probe
from service.fitting.diagnosis.simulation import TooLong
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent

#: How many times as high as it is estimated the floor of rounding has been seen to be.
_MOST_TOO_LOW = 3.0
#: Times as many steps: how much further a descent is followed.
_FURTHER = 10


@dataclass(frozen=True, eq=False)
class Evidence:
    """See the module's first lines. Gaps are Euclidean distances to the reference in the user's units.

    Attributes
    ----------
    account
        By which losses are told.
    """

    setting: Setting
    end: End
    means: Means
    account: Account

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """As they are answered."""
        return directions(self.setting, self.outlook, self.end.scaled)

    @property
    def outlook(self) -> Outlook:
        return self.end.outlook

    @property
    def diverges(self) -> bool:
        """Whether it ended at numbers too large, or would have with more steps."""
        return self.end.kind == "diverged" or self.outlook.is_stable is False

    @property
    def slowest(self) -> Direction | None:
        """The direction with the largest gap in the end; None where none were looked for."""
        return next(iter(self.directions), None)

    def named_terms(self, direction: Direction) -> tuple[str, ...]:
        """Those in a direction's name, the largest part first."""
        spectrum = self.setting.spectrum
        return spectrum.named_terms(spectrum.names.index(direction.name))

    @cached_property
    def difference(self) -> FloatArray:
        """(m, q) the fit minus the reference, in the user's units."""
        return self.end.estimate - self.setting.optimum.parameters

    @cached_property
    def gap(self) -> float:
        """As it was measured; of an end that is only forecast, with the rounding that is to be expected."""
        measured = length(self.difference)
        return measured if self.end.kind is not None else hypot(measured, self._estimated_floor)

    @cached_property
    def agreement(self) -> float:
        """The largest gap of a fit that agrees."""
        size = length(self.setting.optimum.parameters)
        return AGREEMENT * (size or 1.0)

    @property
    def agrees(self) -> bool:
        return self.gap <= self.agreement

    @cached_property
    def floor(self) -> float:
        """The gap that rounding leaves after as many steps."""
        return self._measured_of_floor * self._estimated_floor

    @cached_property
    def _estimated_floor(self) -> float:
        return precision_floor(self.setting, self.outlook)

    @property
    def floor_in_the_limit(self) -> float:
        """The gap that rounding leaves in the end, which may be more than it has made of it so far."""
        return max(self._measured_of_floor, 1.0) * self._estimated_floor

    def _floor_of(self, setting: Setting, found: Outlook) -> float:
        return self._measured_of_floor * precision_floor(setting, found)

    @cached_property
    def _measured_of_floor(self) -> float:
        """What the estimated floor has to be multiplied by to go with what was measured.

        A fit that has come below has a lower one, no higher than how far off it is what the same steps come to without
        rounding; one that is further off than the estimate, up to so many times as it may be too low, has a higher one.
        """
        estimated = self._estimated_floor
        if not estimated > 0.0 or not isfinite(self.gap) or self.end.kind is None:
            return 1.0
        if self.unrounded is None:
            return min(1.0, self.gap / estimated)
        off = length(self._in_users_units(self.end.scaled - self.unrounded.end))
        if self.gap < estimated:
            return min(self.gap, off) / estimated
        return min(max(1.0, off / estimated), _MOST_TOO_LOW)

    @cached_property
    def unrounded(self) -> Outlook | None:
        """What the same steps come to without rounding; None where chance decides, or nobody can say."""
        if self.setting.plan.reshuffles:
            return None
        if self.setting.solver.dtype == "float64":
            found: Outlook | None = self.outlook
        else:
            found = self.foreseen(self.instead(dtype="float64"))
        return found if found is not None and found.is_exact and found.steps == self.end.steps else None

    # Parts of the gap, by directions.

    @cached_property
    def reference(self) -> FloatArray:
        """(m, q) in descent's units; where there are many, another one than descent leads to from the optimum's."""
        return self.setting.problem.units.to_scaled(self.setting.optimum.parameters)

    @cached_property
    def away(self) -> FloatArray:
        """(m, q) the fit minus the reference in descent's units."""
        return self.end.scaled - self.reference

    def along(self, chosen: BoolArray) -> FloatArray:
        """(m, q) the gap's part along some directions of the spectrum, in the user's units."""
        vectors = self.setting.spectrum.vectors[:, chosen]
        return self._in_users_units(vectors @ (vectors.T @ self.away))

    @cached_property
    def flat_part(self) -> FloatArray:
        """(m, q) the gap's part along directions in which the loss is flat, in the user's units."""
        return self.difference - self.steep_part(self.away)

    def steep_part(self, away: FloatArray) -> FloatArray:
        """(m, q) the other part of what is `away` (m, q) from the reference in descent's units, in the user's."""
        vectors = self._steep
        return self._in_users_units(away if vectors is None else vectors @ (vectors.T @ away))

    @cached_property
    def _steep(self) -> FloatArray | None:
        """(m, r) an orthonormal basis of the directions in which the loss is not flat; None where those are all."""
        spectrum, triangle = self.setting.spectrum, self.setting.optimum.triangle
        if self.setting.found.original.is_full_rank:
            return None
        if spectrum.is_whole:
            return spectrum.vectors[:, ~spectrum.is_flat]
        basis: FloatArray = np.linalg.qr(triangle.T)[0]
        return basis

    def _in_users_units(self, away: FloatArray) -> FloatArray:
        """A difference of parameters (m, q) in descent's units, in the user's."""
        units = self.setting.problem.units
        return in_users_units(away, units) * units.targets.spread

    # What other settings would have come to.

    def instead(self, **options: Any) -> Setting:
        """The setting with other options of the solver, and as many steps; all of them where it diverges."""
        setting = self.setting
        if not self.diverges and self.end.steps < setting.plan.total_steps:
            options = {"max_steps": self.end.steps, **options}
        return setting.with_solver(replace(setting.solver, **options), setting.ended) if options else setting

    def with_optimizer(self, **options: Any) -> Setting:
        """The same with other options of the optimizer."""
        return self.instead(optimizer=replace(self.setting.solver.optimizer, **options))

    def foreseen(self, setting: Setting, further: float = 1.0) -> Outlook | None:
        """What another setting would come to; None where nobody can say. `further` is as for `outlook`."""
        if setting is self.setting:
            return self.outlook
        key = (setting.solver, setting.problem.scaling)
        seen, found = self._foreseen.get(key, (0.0, None))
        if seen == 0.0 or (seen < further and found is not None and found.method == "simulated"):
            found = self._looked_ahead(setting, further)
            self._foreseen[key] = further, found
        return found

    @cached_property
    def _foreseen(self) -> dict[tuple[Descent, Scaling], tuple[float, Outlook | None]]:
        """How far was looked, and what was seen: several causes ask for the same."""
        return {}

    def _looked_ahead(self, setting: Setting, further: float) -> Outlook | None:
        try:
            return outlook(setting, self.means.simulate, further)
        except TooLong:
            return None

    def gap_of(self, setting: Setting) -> float | None:
        """The gap that another setting would leave after all its steps; None where nobody can say."""
        found = self.foreseen(setting)
        return None if found is None else self.gap_at_end(setting, found)

    def gap_at_end(self, setting: Setting, found: Outlook) -> float | None:
        """The same of what is foreseen of it."""
        if found.steps < setting.plan.total_steps:
            return inf if found.is_stable is False else None
        return hypot(self.exact_gap(setting, found.end, found.end_sd), self._floor_of(setting, found))

    def exact_gap(self, setting: Setting, parameters: FloatArray, sd: FloatArray) -> float:
        """The root of the expected square of the gap of parameters in a setting's units, rounding apart."""
        away = setting.problem.units.to_user(parameters) - setting.optimum.parameters
        gap = float(np.sqrt(np.square(away).sum() + np.square(sd).sum()))
        return gap if isfinite(gap) else inf

    @cached_property
    def gap_with_best_rate(self) -> float | None:
        """The gap that the best learning rate would leave; None where no closed form says which that is."""
        best = self.outlook.best_learning_rate
        return None if best is None else self.gap_of(self.with_optimizer(learning_rate=best))

    @cached_property
    def gap_further_on(self) -> float | None:
        """After ten times as many steps, or as many more as can be followed; None where nobody can say."""
        epochs, steps = _FURTHER * self.setting.solver.epochs, _FURTHER * self.end.steps
        gap = self.gap_of(self.instead(max_steps=steps, epochs=epochs))
        return self._gap_after_probe if gap is None else gap

    @property
    def _gap_after_probe(self) -> float | None:
        state, beyond = self.end.state, self.outlook.beyond
        if state is None:
            return None if beyond is None else beyond.gap_after
        try:
            return probe(self.setting, state, self.means.simulate).gap_after
        except TooLong:
            return None

    @cached_property
    def first_rate(self) -> float:
        """The learning rate of the first step."""
        return self._rate(self.setting.beginning.iterations)

    @cached_property
    def last_rate(self) -> float:
        """The learning rate of the last step."""
        return self._rate(self.setting.beginning.iterations + max(self.end.steps - 1, 0))

    def _rate(self, update: int) -> float:
        solver = self.setting.solver
        return float(rates(solver.optimizer.learning_rate, np.array([update]), np.dtype(solver.dtype))[0])

    # What comes of it.

    @cached_property
    def whole(self) -> float:
        """The gap that causes share in: of a shuffled plan the one that is expected, of which this fit's is a draw."""
        if not self.setting.plan.reshuffles:
            return self.gap
        expected = self.gap_of(self.instead())
        return self.gap if expected is None else expected

    def share(self, without: float | None) -> float:
        """1 - a gap without something / the gap, from 0 to 1 in whole hundredths; 0 where nobody can say."""
        if without is None or isnan(without):
            return 0.0
        if not isfinite(self.whole):
            return float(isfinite(without))
        return round(min(max(1.0 - without / self.whole, 0.0), 1.0), 2)

    def share_of(self, part: FloatArray) -> float:
        """The share that would be gone without a part (m, q) of the difference, in the user's units."""
        left = length(self.difference - part)
        return self.share(left / self.gap * self.whole if isfinite(self.gap) else left)


def counts(share: float) -> bool:
    """Whether a cause with such a share is said."""
    return share >= LEAST_SHARE


def half_lives(sizes: FloatArray) -> FloatArray:
    """Steps in which gaps that a step multiplies by `sizes` halve; infinite where they do not, or nobody can say."""
    return np.where(sizes < 1.0, np.log(2.0) / -np.log(np.where(sizes < 1.0, sizes, 0.5)), np.inf)


def known(**numbers: SupportsFloat | None) -> dict[str, float | None]:
    """Numbers by their names, None where they are not finite."""
    floats = {name: None if value is None else float(value) for name, value in numbers.items()}
    return {name: value if value is not None and isfinite(value) else None for name, value in floats.items()}


def cause(
    code: str, message: str, numbers: Mapping[str, float | None], share: float = 0.0, terms: Sequence[str] = ()
) -> Cause:
    """A cause whose remedy is not known yet."""
    return Cause(code, message, tuple(terms), numbers, share)
