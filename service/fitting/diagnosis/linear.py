"""The outlook of a descent whose every step is one affine map, or one of a few in turn: in closed form.

That is `Sgd` at a constant rate, with momentum or without, by all rows or by batches in a fixed order. By all rows each
direction of the spectrum goes its own way (`decoupled`); else the batches of an epoch are one map (`epoch_map`). What
is done in float32 is worked out as if it were not rounded.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray, length
from service.fitting.descent.backends import closed_form
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import FRACTIONS, Method
from service.fitting.diagnosis.arrivals import Each, Mapped, Whole, first_within
from service.fitting.diagnosis.decoupled import Decoupled, losses
from service.fitting.diagnosis.epoch_map import BatchGradients, EpochMap, growth
from service.fitting.diagnosis.foreseen import LearningRates, Outlook
from service.fitting.diagnosis.frame import Frame, Push, in_users_units
from service.fitting.diagnosis.learning_rates import ROUNDING, crossing, largest_stable, quickest
from service.fitting.diagnosis.modes import logs_of

#: Multiplications up to which the maps of an epoch are made one, numbers of them that are held, and multiplications up
#: to which that is done again for other learning rates, some thirty of them.
_MOST_WORK, _MOST_NUMBERS, _MOST_TRIED = 1 << 28, 1 << 24, 1 << 25
#: Numbers of a course that is kept.
_SMALL_COURSE = 1 << 16
#: Multiplications in doubled precision that take a few milliseconds: of rows with rows, and of maps with maps.
_FEW_PRODUCTS, _FEW_DOUBLED = 1 << 17, 1 << 17
#: The share of a gap up to which an end counts as right; and from which on it is looked for in doubled precision.
_RIGHT, _NEARLY_RIGHT = 1e-8, 1e-12
#: To what share of itself a rate is sought: by all rows; for an epoch's map, the largest stable one and the best.
_CLOSE, _STABLE_DIGITS, _BEST_DIGITS = 1e-9, 1e-5, 3e-3
_EVERY = np.array(FRACTIONS)


def is_linear(setting: Setting) -> bool:
    """Whether the parameters after a step are, but for rounding, an affine map of those before it, given its batch."""
    rule = setting.beginning.rule
    return (
        isinstance(rule.optimizer, Sgd) and rule.is_constant and rule.clipping.kind == "none" and rule.averaging is None
    )


def has_closed_form(setting: Setting) -> bool:
    """Whether there is one that takes a moment, for what `is_linear` and takes its rows in order."""
    _, q = setting.optimum.scaled.shape
    batches, size = _maps(setting)
    is_small = batches * size**3 <= _MOST_WORK and batches * size * (size + q) <= _MOST_NUMBERS
    return setting.spectrum.is_whole and is_small


def _maps(setting: Setting) -> tuple[int, int]:
    """How many maps make an epoch, 0 by all rows, and the numbers of a state."""
    plan, m = setting.plan, len(setting.optimum.scaled)
    batches = 0 if plan.batch_size == plan.rows else plan.steps_per_epoch
    return batches, m if Push.of(setting).momentum == 0.0 else 2 * m


def linear_outlook(setting: Setting) -> Outlook:
    """Of a setting that `has_closed_form`."""
    return _Linear(setting)


@dataclass(frozen=True, eq=False)
class _End:
    steps: int
    parameters: FloatArray
    is_exact: bool


@dataclass(frozen=True, eq=False)
class _Linear(Outlook):
    setting: Setting

    @cached_property
    def push(self) -> Push:
        return Push.of(self.setting)

    @cached_property
    def frame(self) -> Frame:
        return Frame.of(self.setting)

    @property
    def is_by_all_rows(self) -> bool:
        return _maps(self.setting)[0] == 0

    @property
    def method(self) -> Method:
        if not self.is_by_all_rows:
            return "epoch_map"
        return "eigen" if self.push.momentum == 0.0 else "companion"

    @cached_property
    def course(self) -> Decoupled | EpochMap:
        """The same for all settings that differ in nothing but their steps, where it is small."""
        plan, (batches, size) = self.setting.plan, _maps(self.setting)
        if batches * size * size > _SMALL_COURSE:
            return self._course()
        key = ("course", self.push, plan.batch_size, plan.steps_per_epoch, plan.into_epoch, self.setting.solver.dtype)
        return self.setting.attempts.once(key, self._course)

    @np.errstate(all="ignore")
    def _course(self) -> Decoupled | EpochMap:
        if self.is_by_all_rows:
            return Decoupled.of(self.push, self.frame)
        return EpochMap.of(BatchGradients.of(self.setting, self.frame), self.push, self.frame)

    @property
    def is_stable(self) -> bool:
        return self.course.is_stable

    @cached_property
    @np.errstate(all="ignore")
    def rates(self) -> FloatArray:
        return self.course.rates[: len(self.setting.spectrum.eigenvalues)]

    @cached_property
    @np.errstate(all="ignore")
    def limit(self) -> FloatArray | None:
        """(m, q) at the ends of epochs."""
        if not self.is_stable:
            return None
        plan = self.setting.plan
        return self._parameters(self.course.limit(-plan.into_epoch % plan.steps_per_epoch))

    @property
    def limit_sd(self) -> FloatArray:
        return np.zeros_like(self.setting.optimum.scaled)

    @property
    def steps(self) -> int:
        return self._ended.steps

    @property
    def end(self) -> FloatArray:
        return self._ended.parameters

    @property
    def end_sd(self) -> FloatArray:
        return np.zeros_like(self.setting.optimum.scaled)

    @property
    def is_exact(self) -> bool:
        return self._ended.is_exact

    @cached_property
    @np.errstate(all="ignore")
    def _ended(self) -> _End:
        setting, steps = self.setting, self.setting.plan.total_steps
        wrong = self.course.error(steps)
        if wrong > _NEARLY_RIGHT and self._is_tiny and (found := closed_form(setting.arena)) is not None:
            engine, _ = found
            state = engine.advance(setting.beginning.state, steps, None, np.empty(0, np.int64)).state
            return _End(state.step, state.parameters.astype(np.float64), is_exact=True)
        away, last = self._away(steps), steps
        if not self._is_finite(away):
            last = self._last_finite(steps)
            away = self._away(last)
        if last == 0:
            return _End(0, setting.beginning.state.parameters.astype(np.float64), is_exact=False)
        is_right = wrong <= _RIGHT and last == steps and setting.solver.dtype == "float64"
        return _End(last, setting.optimum.scaled + away, is_right)

    @property
    def _is_tiny(self) -> bool:
        """Whether doubled precision takes no time."""
        (n, m, q), (batches, size) = self.setting.arena.shape, _maps(self.setting)
        return n * m * (m + q) <= _FEW_PRODUCTS and batches * size**3 <= _FEW_DOUBLED

    def _parameters(self, gap: FloatArray) -> FloatArray:
        """(m, q) of a gap (g, q)."""
        parameters: FloatArray = self.setting.optimum.scaled + self.frame.basis @ gap
        return parameters

    def _away(self, steps: int) -> FloatArray:
        """(m, q) W - W* after any number of steps."""
        away: FloatArray = self.frame.basis @ self.course.after(steps)
        return away

    def _is_finite(self, away: FloatArray) -> bool:
        """Whether the loss is, so far `away` (m, q) from the optimum."""
        image = self.setting.optimum.triangle @ away
        return bool(np.isfinite(np.square(image.astype(self.setting.solver.dtype)).sum()))

    def _last_finite(self, beyond: int) -> int:
        low, high = 0, beyond
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._is_finite(self._away(middle)) else (low, middle)
        return low

    @cached_property
    @np.errstate(all="ignore")
    def steps_to(self) -> FloatArray:
        return first_within(Whole(self.course), length(self.frame.gap) * _EVERY)

    @cached_property
    @np.errstate(all="ignore")
    def steps_to_by_direction(self) -> FloatArray:
        k, times = len(self.setting.spectrum.eigenvalues), len(_EVERY)
        sizes = np.sqrt(np.square(self.frame.gap[:k]).sum(axis=1))
        return first_within(Each(self.course, k, times), np.outer(sizes, _EVERY).ravel()).reshape(k, times)

    @np.errstate(all="ignore")
    def steps_until(self, gap: float) -> int | None:
        units, optimum = self.setting.problem.units, self.setting.optimum
        shift = units.to_user(optimum.scaled) - optimum.parameters
        view = Mapped(self.course, in_users_units(self.frame.basis, units), units.targets.spread, shift)
        [steps] = first_within(view, np.array([gap])).tolist()
        return None if np.isnan(steps) else int(steps)

    @cached_property
    @np.errstate(all="ignore")
    def learning_rates(self) -> LearningRates:
        """Of all settings with the same batches, momentum and decay."""
        plan, push = self.setting.plan, replace(self.push, rate=1.0)
        key = ("learning rates", plan.batch_size, plan.steps_per_epoch, self.setting.solver.dtype, push)
        return self.setting.kept.once(key, self._learning_rates)

    def _learning_rates(self) -> LearningRates:
        spectrum, push = self.setting.spectrum, self.push
        steep = spectrum.eigenvalues[~spectrum.is_flat]
        largest = largest_stable(push, steep.max(initial=0.0))
        if largest is None or len(steep) == 0:
            return LearningRates(largest)
        if not self.is_by_all_rows:
            batches, size = _maps(self.setting)
            return self._learning_rates_of_epochs() if batches * size**3 <= _MOST_TRIED else LearningRates()
        if push.momentum == 0.0:
            return LearningRates(largest, 2.0 / (steep.max() + steep.min() + 2.0 * push.weight_decay))

        def growth_of(rate: float) -> float:
            return float(logs_of(losses(replace(push, rate=rate), steep)).real.max())

        return LearningRates(largest, quickest(growth_of, largest, _CLOSE))

    def _learning_rates_of_epochs(self) -> LearningRates:
        gradients = BatchGradients.steep(self.setting)

        def growth_of(rate: float) -> float:
            return growth(gradients.maps(replace(self.push, rate=rate), gradients.shifts[0])) - ROUNDING

        near = largest_stable(self.push, gradients.mean_eigenvalues.max())
        largest = None if near is None else crossing(growth_of, near, _STABLE_DIGITS)
        return LearningRates(largest, None if largest is None else quickest(growth_of, largest, _BEST_DIGITS))
