"""What a descent will do that has no closed form: its steps are taken, by sufficient statistics (`courses`).

How many are taken is bounded by counted work, never by a clock: the same request is always answered alike. Past the end
of the plan steps are taken for as long as there is work left, to see where it leads.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.batch_products import are_exact_enough
from service.fitting.descent.engine import State
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import FRACTIONS, Method
from service.fitting.diagnosis.courses import simulation_of
from service.fitting.diagnosis.foreseen import Outlook, Probe
from service.fitting.diagnosis.simulation import Simulate, Simulated, Simulation, TooLong

#: What the steps of one outlook may take; and what one takes, measured on one core of an AMD EPYC: at least, for each
#: parameter, and for each number of the Hessian and target.
MOST_SECONDS = 0.02
_SECONDS_A_STEP, _SECONDS_A_PARAMETER, _SECONDS_A_PRODUCT = 1e-7, 1.5e-8, 1e-9
#: Of a course, however short the plan is: a limit is seen after them if it is near.
_LEAST_STEPS = 5000
#: Courses of a shuffled plan: fewer where its end could not be reached by so many.
_MOST_COURSES, _LEAST_COURSES = 16, 4
#: An end is looked at by itself first where there are so many times as many steps to see.
_MUCH_FURTHER = 4
#: Steps of each kind that are recorded.
_RECORDED = 250
#: How far the second course may be from the first in the end, of the gaps at the start and in the end.
_MOST_APART = 1e-9
#: What counts as no way at all: of the way come along a direction, and of the gap at the start.
_SETTLED, _ROUNDING = 1e-6, 1e-12
_EVERY = np.array(FRACTIONS)
#: Of the deviation between courses: means that are no further apart stand still.
_STILL = 0.5
#: Epochs and steps of each half of a probe, at least; and how many pairs of steps are looked at.
_PROBED_EPOCHS, _PROBED_STEPS, _PAIRS = 2, 200, 100


def simulated_outlook(
    setting: Setting, simulate: Simulate, further: float = math.inf, *, ends_first: bool = False
) -> Outlook:
    """The outlook of any descent; `further` and `ends_first` as for `outlook`.

    In a fixed order of batches, a second course begins a trifle away from the first. Only if the two end as near to
    each other as rounding would leave them is the end said to be exact: some rules lead apart what was close.

    Shuffled, `end` is the mean of c courses, and `end_sd` how far one more is from it: sqrt(1 + 1 / c) times their
    standard deviation.

    `limit` is there where the descent has visibly settled by the time it is lost sight of. In a fixed order: along each
    direction that is not flat it keeps, in the last half of all that is seen, to a millionth of the way it has come.
    Shuffled: the mean over the last quarter is nearer to that over the quarter before than half of the deviation.

    Gaps arrive at the first recorded step from which on they stay so small, up to where they are lost sight of.

    Raises
    ------
    TooLong
        Nobody can take the steps, or not in time.
    """
    reach = _Reach.of(setting, further)
    # The orders of a shuffled plan's batches are drawn for all steps at once.
    apart = ends_first and not setting.plan.reshuffles and reach.last >= _MUCH_FURTHER * reach.end
    first = _see(setting, simulate, reach.no_further if apart else reach)
    return _Simulated(setting, simulate, reach, first)


@dataclass(frozen=True)
class _Reach:
    """How many courses are followed, and up to which step: where `Outlook.end` is, and as far as there is to see.

    Attributes
    ----------
    ends_only
        Whether nothing is looked at on the way.
    """

    courses: int
    end: int
    last: int
    ends_only: bool

    @classmethod
    def of(cls, setting: Setting, further: float) -> "_Reach":
        plan, affordable = setting.plan, max(int(MOST_SECONDS / _seconds_a_step(setting)), 1)
        if plan.reshuffles:
            courses = int(np.clip(affordable // max(plan.total_steps, 1), _LEAST_COURSES, _MOST_COURSES))
        else:
            courses = 1 if further == 1.0 else 2
        last = max(affordable // courses, 1)
        end = min(plan.total_steps, last)
        if further == 1.0:
            return cls(courses, end, end, ends_only=True)
        return cls(courses, end, int(min(last, max(further * plan.total_steps, _LEAST_STEPS))), ends_only=False)

    @property
    def no_further(self) -> "_Reach":
        """Up to the end."""
        return replace(self, last=self.end, ends_only=True)


@dataclass(frozen=True, eq=False)
class _Simulated(Outlook):
    """What was seen of a descent at `first`, and what there is to see beyond."""

    setting: Setting
    simulate: Simulate
    reach: _Reach
    first: "_Seen"

    @property
    def method(self) -> Method:
        return "simulated"

    @property
    def steps(self) -> int:
        return self.first.end

    @cached_property
    def end(self) -> FloatArray:
        return np.asarray(self.first.at_end.mean(axis=0))

    @cached_property
    def end_sd(self) -> FloatArray:
        return self.first.deviation(self.first.at_end)

    @cached_property
    def whole(self) -> "_Seen":
        """As far as there is to see; what was seen first, where there is nobody to take more steps, or not in time."""
        if not self.first.is_finite or self.first.steps[-1] >= self.reach.last:
            return self.first
        try:
            return _see(self.setting, self.simulate, self.reach)
        except TooLong:
            return self.first

    @cached_property
    def is_exact(self) -> bool:
        setting, first = self.setting, self.first
        if setting.plan.reshuffles or setting.solver.dtype != "float64" or first.end < setting.plan.total_steps:
            return False
        other = self._end_of_another if self.reach.courses > 1 else None
        if other is None:
            return False
        apart = np.abs(first.at_end[0] - other).max()
        is_near = bool(apart <= _MOST_APART * (first.gaps[0] + first.gaps[first.place]))
        return is_near and are_exact_enough(setting.products)

    @property
    def _end_of_another(self) -> FloatArray | None:
        """(m, q) the end of another course, which begins a trifle away; None where nobody sees it."""
        simulation = simulation_of(self.setting, self.setting.beginning.state, 2, np.array([self.first.end]))
        try:
            simulated = self.simulate(replace(simulation, parameters=simulation.parameters[1:]))
        except TooLong:
            return None
        return simulated.parameters[0, -1] if simulated.is_finite else None

    @cached_property
    def is_stable(self) -> bool | None:
        return False if not self.whole.is_finite else True if self.limit is not None else None

    @property
    def rates(self) -> FloatArray:
        return np.full(len(self.setting.spectrum.eigenvalues), np.nan)

    @cached_property
    def limit(self) -> FloatArray | None:
        return None if self.reach.ends_only else _limit(self.whole)

    @cached_property
    def limit_sd(self) -> FloatArray:
        return self.whole.deviation(self.whole.since(0.75))

    @cached_property
    def steps_to(self) -> FloatArray:
        whole = self.whole
        return _stays_from(whole.steps, whole.gaps, _EVERY * whole.gaps[0])

    @cached_property
    def steps_to_by_direction(self) -> FloatArray:
        steps, by_direction = self.whole.steps, self.whole.gaps_by_direction
        each = [_stays_from(steps, gaps, _EVERY * gaps[0]) for gaps in by_direction]
        return np.array(each).reshape(-1, len(FRACTIONS))

    def steps_until(self, gap: float) -> int | None:
        whole, setting = self.whole, self.setting
        away = setting.problem.units.to_user(whole.courses) - setting.optimum.parameters
        [step] = _stays_from(whole.steps, _lengths(away), np.array([gap])).tolist()
        return None if np.isnan(step) else int(step)

    @cached_property
    def beyond(self) -> Probe | None:
        return self.whole.probe


def probe(setting: Setting, state: State, simulate: Simulate) -> Probe:
    """How a descent goes on from `state`, which is one of its own.

    Raises
    ------
    TooLong
        Nobody can take the steps, or not in time.
    """
    recorded = _probed(setting)
    simulated = simulate(simulation_of(setting, state, 1, recorded))
    parameters = np.concatenate([_answer(setting, state)[None], simulated.parameters[0]])
    return _probe_of(setting, np.append(0, simulated.steps), parameters)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was seen of all courses, up to the last finite step.

    Attributes
    ----------
    steps, parameters
        (r,), the first being 0, and (c, r, m, q).
    end
        After which step `Outlook.end` is.
    """

    setting: Setting
    steps: IntArray
    parameters: FloatArray
    end: int
    is_finite: bool

    @property
    def courses(self) -> FloatArray:
        """(c, r, m, q) those that count: of a fixed order one."""
        return self.parameters if self.setting.plan.reshuffles else self.parameters[:1]

    @property
    def place(self) -> int:
        """Of the end, among the steps."""
        return int(np.searchsorted(self.steps, self.end))

    @property
    def at_end(self) -> FloatArray:
        """(c, m, q)."""
        return self.courses[:, self.place]

    def since(self, share: float, up_to: float = 1.0) -> FloatArray:
        """(s, m, q) all states at the ends of epochs in that share of the steps."""
        plan, last = self.setting.plan, self.steps[-1]
        ends = (plan.into_epoch + self.steps) % plan.steps_per_epoch == 0
        chosen = ends & (self.steps >= share * last) & (self.steps <= up_to * last)
        return self.courses[:, chosen].reshape(-1, *self.courses.shape[2:])

    @cached_property
    def away(self) -> FloatArray:
        """(c, r, m, q) W - W*."""
        return self.courses - self.setting.optimum.scaled

    @cached_property
    def gaps(self) -> FloatArray:
        """(r,) the expected gap."""
        return _lengths(self.away)

    @property
    def gaps_by_direction(self) -> FloatArray:
        """(k, r)."""
        along = np.moveaxis(self.setting.spectrum.vectors.T @ self.away, 2, 0)
        gaps: FloatArray = np.sqrt(np.square(along).sum(axis=-1).mean(axis=1))
        return gaps

    def deviation(self, parameters: FloatArray) -> FloatArray:
        """(m, q) in the user's units, of parameters (s, m, q); 0 where nothing hangs on chance."""
        if not self.setting.plan.reshuffles or len(parameters) < 2:
            return np.zeros(self.courses.shape[2:])
        deviation = self.setting.problem.units.to_user(parameters).std(axis=0, ddof=1)
        return np.asarray(deviation * np.sqrt(1.0 + 1.0 / len(parameters)))

    @property
    def probe(self) -> Probe | None:
        """Of the first course, from the end on; None where that was too long, or the end was not reached."""
        probed = self.end + _probed(self.setting)
        if self.end < self.setting.plan.total_steps or probed[-1] > self.steps[-1]:
            return None
        chosen = np.isin(self.steps, np.append(self.end, probed))
        return _probe_of(self.setting, self.steps[chosen] - self.end, self.courses[0, chosen])


def _see(setting: Setting, simulate: Simulate, reach: _Reach) -> _Seen:
    """Of a fixed order one course."""
    state, courses = setting.beginning.state, reach.courses if setting.plan.reshuffles else 1
    simulation = simulation_of(setting, state, courses, _recorded(setting, reach))
    simulated = simulate(simulation)
    if not simulated.is_finite:
        simulated = _to_last_finite(simulation, simulated, simulate)
    steps = np.append(0, simulated.steps)
    start = np.broadcast_to(_answer(setting, state), (courses, 1, *state.parameters.shape))
    parameters = np.concatenate([start, simulated.parameters], axis=1)
    return _Seen(setting, steps, parameters, min(reach.end, int(steps[-1])), simulated.is_finite)


def _to_last_finite(simulation: Simulation, simulated: Simulated, simulate: Simulate) -> Simulated:
    """The same with the last finite step, which is sought between the last that was recorded and the next one."""
    recorded = simulation.recorded
    while True:
        known = len(simulated.steps)
        last, beyond = int(simulated.steps[-1]) if known else 0, int(recorded[known])
        if beyond - last == 1:
            return simulated
        between = np.unique(np.linspace(last + 1, beyond, _RECORDED).astype(np.int64))
        recorded = np.append(simulated.steps, between)
        simulated = simulate(replace(simulation, recorded=recorded))


def _seconds_a_step(setting: Setting) -> float:
    m, q = setting.arena.shape[1:]
    return _SECONDS_A_STEP + _SECONDS_A_PARAMETER * m * q + _SECONDS_A_PRODUCT * m * m * q


def _recorded(setting: Setting, reach: _Reach) -> IntArray:
    """Evenly spaced and in equal ratios, the ends of epochs in pairs, and what is probed after the end."""
    plan, end, last = setting.plan, reach.end, reach.last
    if reach.ends_only:
        return np.array([end])
    evenly, growing = np.linspace(1, max(end, 1), _RECORDED), np.geomspace(1, last, _RECORDED)
    epochs = np.linspace(0, plan.epochs_ended(last), _RECORDED).astype(np.int64)
    ends = np.append(epochs, epochs + 1) * plan.steps_per_epoch - plan.into_epoch
    every = np.concatenate([evenly, growing, ends, end + _probed(setting), [end, last]])
    steps = np.unique(every.astype(np.int64))
    return steps[(steps >= 1) & (steps <= last)]


def _limit(seen: _Seen) -> FloatArray | None:
    """(m, q); see `simulated_outlook`."""
    steep = seen.setting.spectrum.vectors[:, ~seen.setting.spectrum.is_flat]
    final = seen.since(0.75)
    if not seen.is_finite or min(len(final), len(seen.since(0.5, 0.75))) < 2 * _PROBED_EPOCHS:
        return None
    before, mean = steep.T @ seen.since(0.5, 0.75), (steep.T @ final).mean(axis=0)
    if seen.setting.plan.reshuffles:
        moved, most = np.abs(before.mean(axis=0) - mean), _STILL * (steep.T @ final).std(axis=0)
    else:
        moved = np.ptp(np.concatenate([before, steep.T @ final]), axis=0)
        most = _SETTLED * np.abs(mean - steep.T @ seen.courses[0, 0])
    return final.mean(axis=0) if (moved <= most + _ROUNDING * seen.gaps[0]).all() else None


def _stays_from(steps: IntArray, gaps: FloatArray, levels: FloatArray) -> FloatArray:
    """The first step from which on no gap is above each level; NaN where the last one is."""
    above = ~(gaps <= levels[:, None])
    places = np.where(above.any(axis=1), len(steps) - above[:, ::-1].argmax(axis=1), 0)
    return np.append(steps.astype(np.float64), np.nan)[places]


def _lengths(away: FloatArray) -> FloatArray:
    """(r,) the root of the mean over courses of the squared length, of (c, r, m, q)."""
    lengths: FloatArray = np.sqrt(np.square(away).sum(axis=(2, 3)).mean(axis=0))
    return lengths


def _answer(setting: Setting, state: State) -> FloatArray:
    """The parameters (m, q) that a descent answers with at a state."""
    rule, updates = setting.beginning.rule, setting.beginning.iterations + state.step
    answer = state.average if rule.averaging is not None and updates > 0 else state.parameters
    return answer.astype(np.float64)


def _probed(setting: Setting) -> IntArray:
    """The steps of a probe: pairs of neighbours, evenly over whole epochs, with the last of either half."""
    epochs = max(_PROBED_EPOCHS, -(-_PROBED_STEPS // setting.plan.steps_per_epoch))
    half = epochs * setting.plan.steps_per_epoch
    first = np.linspace(1, 2 * half - 1, _PAIRS).astype(np.int64)
    return np.unique(np.concatenate([first, first + 1, [half, 2 * half]]))


def _probe_of(setting: Setting, steps: IntArray, parameters: FloatArray) -> Probe:
    """Of states (r, m, q) after steps (r,) from the beginning of the probe on."""
    parameters = setting.problem.units.to_user(parameters)
    neighbours = np.diff(steps) == 1
    lengths = np.linalg.norm(np.diff(parameters, axis=0)[neighbours], axis=(1, 2))
    early = steps <= steps[-1] / 2
    gaps = np.linalg.norm(parameters[[0, -1]] - setting.optimum.parameters, axis=(1, 2))
    return Probe(
        steps=int(steps[-1]),
        step_length=float(lengths.mean()),
        net_progress=float(np.linalg.norm(parameters[~early].mean(axis=0) - parameters[early].mean(axis=0))),
        gap_before=float(gaps[0]),
        gap_after=float(gaps[1]),
    )
