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
from service.fitting.diagnosis.answer import FRACTIONS
from service.fitting.diagnosis.courses import simulation_of
from service.fitting.diagnosis.foreseen import Arrivals, Outlook, Probe
from service.fitting.diagnosis.simulation import Simulate, Simulated, Simulation

#: What the steps of one outlook may take; and what one takes, measured on one core of an AMD EPYC: at least, for each
#: parameter, and for each number of the Hessian and target.
MOST_SECONDS = 0.02
_SECONDS_A_STEP, _SECONDS_A_PARAMETER, _SECONDS_A_PRODUCT = 1e-7, 1.5e-8, 1e-9
#: Of a course, however short the plan is: a limit is seen after them if it is near.
_LEAST_STEPS = 5000
#: Courses of a shuffled plan: fewer where its end could not be reached by so many.
_MOST_COURSES, _LEAST_COURSES = 16, 4
#: Steps of each kind that are recorded.
_RECORDED = 250
#: How far the second course may be from the first in the end, of the gaps at the start and in the end.
_MOST_APART = 1e-9
#: What counts as no way at all: of the way come along a direction, and of the gap at the start.
_SETTLED, _ROUNDING = 1e-6, 1e-12
#: Of the deviation between courses: means that are no further apart stand still.
_STILL = 0.5
#: Epochs and steps of each half of a probe, at least; and how many pairs of steps are looked at.
_PROBED_EPOCHS, _PROBED_STEPS, _PAIRS = 2, 200, 100


def simulated_outlook(setting: Setting, simulate: Simulate, further: float = math.inf) -> Outlook:
    """The outlook of any descent; `further` as for `outlook`.

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
    seen = _see(setting, simulate, further)
    limit = _limit(seen)
    return Outlook(
        method="simulated",
        is_exact=seen.is_exact,
        is_stable=False if not seen.is_finite else True if limit is not None else None,
        rates=np.full(len(setting.spectrum.eigenvalues), np.nan),
        steps=seen.end,
        end=seen.at_end.mean(axis=0),
        end_sd=seen.deviation(seen.at_end),
        limit=limit,
        limit_sd=seen.deviation(seen.since(0.75)),
        find_arrivals=seen.arrivals,
        steps_until=seen.steps_until,
        beyond=seen.probe,
    )


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

    def arrivals(self) -> Arrivals:
        """See `Outlook.find_arrivals`."""
        by_direction = [_steps_to(self.steps, gaps) for gaps in self.gaps_by_direction]
        return Arrivals(_steps_to(self.steps, self.gaps), np.array(by_direction).reshape(-1, len(FRACTIONS)))

    def steps_until(self, gap: float) -> int | None:
        """See `Outlook`."""
        away = self.setting.problem.units.to_user(self.courses) - self.setting.optimum.parameters
        step = _stays_from(self.steps, _lengths(away), gap)
        return None if np.isnan(step) else int(step)

    def deviation(self, parameters: FloatArray) -> FloatArray:
        """(m, q) in the user's units, of parameters (s, m, q); 0 where nothing hangs on chance."""
        if not self.setting.plan.reshuffles or len(parameters) < 2:
            return np.zeros(self.courses.shape[2:])
        deviation = self.setting.problem.units.to_user(parameters).std(axis=0, ddof=1)
        return np.asarray(deviation * np.sqrt(1.0 + 1.0 / len(parameters)))

    @property
    def is_exact(self) -> bool:
        """Whether the end is right up to rounding."""
        setting = self.setting
        if setting.plan.reshuffles or setting.solver.dtype != "float64" or self.end < setting.plan.total_steps:
            return False
        if len(self.parameters) == 1:
            return False
        apart = np.abs(self.parameters[0, self.place] - self.parameters[1, self.place]).max()
        is_near = bool(apart <= _MOST_APART * (self.gaps[0] + self.gaps[self.place]))
        return is_near and are_exact_enough(setting.products)

    @property
    def probe(self) -> Probe | None:
        """Of the first course, from the end on; None where that was too long, or the end was not reached."""
        probed = self.end + _probed(self.setting)
        if self.end < self.setting.plan.total_steps or probed[-1] > self.steps[-1]:
            return None
        chosen = np.isin(self.steps, np.append(self.end, probed))
        return _probe_of(self.setting, self.steps[chosen] - self.end, self.courses[0, chosen])


def _see(setting: Setting, simulate: Simulate, further: float) -> _Seen:
    state, plan = setting.beginning.state, setting.plan
    affordable = max(int(MOST_SECONDS / _seconds_a_step(setting)), 1)
    if plan.reshuffles:
        courses = int(np.clip(affordable // max(plan.total_steps, 1), _LEAST_COURSES, _MOST_COURSES))
    else:
        courses = 1 if further == 1.0 else 2
    last = max(affordable // courses, 1)
    end = min(plan.total_steps, last)
    last = int(min(last, max(further * plan.total_steps, _LEAST_STEPS if further > 1.0 else 1)))
    simulation = simulation_of(setting, state, courses, _recorded(setting, end, last))
    simulated = simulate(simulation)
    if not simulated.is_finite:
        simulated = _to_last_finite(simulation, simulated, simulate)
    steps = np.append(0, simulated.steps)
    start = np.broadcast_to(_answer(setting, state), (courses, 1, *state.parameters.shape))
    parameters = np.concatenate([start, simulated.parameters], axis=1)
    return _Seen(setting, steps, parameters, min(end, int(steps[-1])), simulated.is_finite)


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


def _recorded(setting: Setting, end: int, last: int) -> IntArray:
    """Evenly spaced and in equal ratios, the ends of epochs in pairs, and what is probed after the end."""
    plan = setting.plan
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


def _steps_to(steps: IntArray, gaps: FloatArray) -> FloatArray:
    return np.array([_stays_from(steps, gaps, fraction * gaps[0]) for fraction in FRACTIONS])


def _stays_from(steps: IntArray, gaps: FloatArray, level: float) -> float:
    """The first step from which on no gap is above the level; NaN where the last one is."""
    above = np.flatnonzero(~(gaps <= level))
    place = int(above[-1]) + 1 if len(above) else 0
    return float(steps[place]) if place < len(steps) else np.nan


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
