"""The outlook of linear descent by shuffled batches: its mean, and its covariance, over all orders of the rows.

The mean goes by a curvature of its own. Batches drawn without replacement make up for each other: where one has taken
more than its share, the others of its epoch have less to take. Of single rows, with X = a a', x = a r and their means
[H g] of [X x], the gradient at the gap D is in the mean that of

    [H g] + r/2 E(X - H) [X - H, x - g] + r^2/3 E(X - H)(X - H) [X - H, x - g] + ..

for the rate r: the first terms of -log(1 - r X) / r, which is what steps by every row once come to. That leads to the
optimum of weighted rows, those of greater length counting for more. For batches the terms are those of their means; and
along each direction only what is left counts of what a batch has done to it by the time the others come. The second
term is that of Gurbuzbalaban, Ozdaglar and Parrilo (2021), "Why random reshuffling beats stochastic gradient descent".
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import FRACTIONS, Method
from service.fitting.diagnosis.decoupled import decoupled, losses
from service.fitting.diagnosis.foreseen import LearningRates, Outlook
from service.fitting.diagnosis.frame import Frame, Push
from service.fitting.diagnosis.learning_rates import crossing, largest_stable, quickest
from service.fitting.diagnosis.modes import logs_of
from service.fitting.diagnosis.row_sample import RowSample
from service.fitting.diagnosis.shuffled_course import (
    Noise,
    Response,
    Rhythm,
    Sample,
    ShuffledCourse,
    growth_of,
    moves,
    summed,
)

#: Of what a covariance that stays adds to itself: up to the first gaps shrink for sure, beyond the second they grow.
_SURELY, _SURELY_NOT = 0.7, 1.4
#: How often that is applied to find what it comes to.
_ORDERS = 30
#: The largest share of the curvature that the last term of the series may be.
_LARGEST_TERM = 0.15
#: How much of the expected gap is left when no more is looked at, and the most steps that are.
_LEFT, _MOST_STEPS = 1e-10, 1 << 53
#: Of the learning rate that is sought.
_PRECISION = 1e-3
_EVERY = np.array(FRACTIONS)


def shuffled_outlook(setting: Setting) -> Outlook:
    """Of a setting that is linear and reshuffles.

    `is_stable` is None where what chance adds is near the most that is held, or the series above does not converge:
    then `end_sd` is no more than an order of magnitude.

    The largest stable learning rate is the one from which on mean squares of gaps grow, with batches drawn by
    themselves. The best is the one with which the slowest gap shrinks quickest in the mean, or half of the largest if
    that is less: with more, along a single direction, chance takes more than a step gains.

    Gaps are roots of mean squares; the steps to them are found between those that are looked at, in ratios of 1.25.
    """
    return _Shuffled(setting)


@dataclass(frozen=True, eq=False)
class _Shuffled(Outlook):
    setting: Setting

    @cached_property
    def chance(self) -> "_Chance":
        return _Chance.of(self.setting)

    @cached_property
    def march(self) -> "_March":
        """Up to the end, at first."""
        march = _March(self.chance)
        march.go(self.setting.plan.total_steps)
        return march

    @cached_property
    def seen(self) -> "_Course":
        """Up to the end, or further."""
        return self.march.seen

    @cached_property
    def whole(self) -> "_Course":
        """Up to the end, and until next to nothing is left of the gap."""
        if self.is_stable:
            self.march.go(self.chance.lasts)
        return self.march.seen

    @property
    def method(self) -> Method:
        return "lyapunov"

    @property
    def is_exact(self) -> bool:
        return False

    @property
    def is_stable(self) -> bool | None:
        return self.chance.is_stable

    @property
    def rates(self) -> FloatArray:
        return self.chance.rates

    @cached_property
    def place(self) -> int:
        """Of the end, among what is seen."""
        return self.seen.place(self.setting.plan.total_steps)

    @cached_property
    def steps(self) -> int:
        return int(self.seen.times[self.place])

    @cached_property
    def end(self) -> FloatArray:
        end: FloatArray = self.setting.optimum.scaled + self.seen.gaps[self.place]
        return end

    @cached_property
    def end_sd(self) -> FloatArray:
        return self.chance.deviations(self.seen.covariances[self.place])

    @cached_property
    def limit(self) -> FloatArray | None:
        return self.setting.optimum.scaled + self.chance.limit if self.is_stable else None

    @cached_property
    def limit_sd(self) -> FloatArray:
        if not self.is_stable:
            return np.zeros_like(self.setting.optimum.scaled)
        return self.chance.deviations(np.stack([course.floor(_ORDERS) for course in self.chance.courses()]))

    @cached_property
    def steps_to(self) -> FloatArray:
        return self.whole.steps_to

    @cached_property
    def steps_to_by_direction(self) -> FloatArray:
        return self.whole.steps_to_by_direction

    def steps_until(self, gap: float) -> int | None:
        return self.whole.steps_until(gap)

    @cached_property
    def learning_rates(self) -> LearningRates:
        return _learning_rates(self.chance)


@dataclass(frozen=True, eq=False)
class _Chance:
    """What a shuffled descent does, apart from where it is.

    Attributes
    ----------
    steep
        The directions of the curvature that the mean goes by, not of the Hessian; and what starts along them. `gap` is
        counted from where the mean leads.
    leads
        (g, q) that, from the optimum.
    flat
        The directions along which the loss is flat.
    term
        The largest share of the curvature that the last term of the series is.
    """

    setting: Setting
    push: Push
    rhythm: Rhythm
    noise: RowSample
    steep: Frame
    leads: FloatArray
    flat: Frame
    term: float

    @classmethod
    def of(cls, setting: Setting) -> "_Chance":
        """The same for all settings that differ in nothing but their steps."""
        plan, dtype = setting.plan, setting.solver.dtype
        key = ("chance", Push.of(setting), plan.batch_size, plan.steps_per_epoch, plan.into_epoch, dtype)
        return setting.attempts.once(key, lambda: cls._of(setting))

    @classmethod
    def _of(cls, setting: Setting) -> "_Chance":
        push, frame, noise = Push.of(setting), Frame.of(setting), RowSample.of(setting)
        rhythm = Rhythm.of(setting.plan, setting.problem.loss)
        is_flat = frame.eigenvalues == 0.0
        steep = _part(frame, ~is_flat)
        g, first = len(steep.eigenvalues), _first(setting, rhythm, steep)
        response = _response(push, replace(steep, eigenvalues=np.diag(first).copy()))
        decays = np.append(response.decays, np.zeros(first.shape[1] - g))
        staying = _later(setting, rhythm, noise.along(steep.basis), _reach(rhythm, response, 0.0 * decays))
        passing = _later(setting, rhythm, noise.along(steep.basis), _reach(rhythm, response, decays))
        held = (1.0 - push.momentum) * push.weight_decay
        constant, axes = _eigen((first + sum(staying))[:, :g])
        pulled = (first + sum(staying))[:, g:] - held * steep.optimum
        eigenvalues, turn = _eigen((first + sum(passing))[:, :g])
        leads = turn.T @ axes @ (axes.T @ pulled / (constant + held)[:, None])
        # What pulls at the limit is what the weight decay holds against it: the velocity there.
        rests = push.rate * push.weight_decay * (turn.T @ steep.optimum + leads)
        turned = Frame(
            steep.basis @ turn, eigenvalues, turn.T @ steep.gap - leads, turn.T @ steep.velocity - rests,
            np.zeros_like(leads),
        )  # fmt: skip
        root = 1.0 / np.sqrt(steep.eigenvalues)
        term = np.linalg.norm(root[:, None] * staying[1][:, :g] * root)
        return cls(setting, push, rhythm, noise, turned, leads, _part(frame, is_flat), float(term))

    @cached_property
    def response(self) -> Response:
        return _response(self.push, self.steep)

    def courses(self) -> list[ShuffledCourse]:
        """One for each target, at the start."""
        starts = decoupled(self.push, self.steep).coefficients[0]
        if not np.iscomplexobj(self.response.kicks):
            starts = starts.real
        into_epoch = self.setting.plan.into_epoch
        return [
            ShuffledCourse(self.rhythm, noise, self.response, self.leads[:, j], starts[:, j].ravel(), into_epoch)
            for j, noise in enumerate(self.noises)
        ]

    @cached_property
    def noises(self) -> list[Noise]:
        """Of each target's gradients, along the directions."""
        rows, own = self.noise.rows @ self.steep.basis, self.noise
        return [Sample(rows, residuals, own.weights).noise for residuals in own.residuals.T]

    @cached_property
    def limit(self) -> FloatArray:
        """(m, q) where the expected gap leads."""
        flat = self.flat.basis @ decoupled(self.push, self.flat).limits[0]
        return np.asarray(self.steep.basis @ self.leads + flat + self.rhythm.whole / 2.0 * self._swing)

    def swings(self, places: IntArray) -> FloatArray:
        """(t, m, q) by how much the gap is another before batches (t,) of an epoch than in the mean.

        A penalty counts as much in a short batch's sum as in another's: that one takes back what the others do.
        """
        return np.asarray((self.rhythm.whole / 2.0 - places)[:, None, None] * self._swing)

    @cached_property
    def _swing(self) -> FloatArray:
        """(m, q) of one batch."""
        setting, rhythm = self.setting, self.rhythm
        if setting.problem.loss == "mse" or not rhythm.has_short:
            return np.zeros_like(setting.optimum.scaled)
        spectrum, share = setting.spectrum, rhythm.sums / setting.plan.rows
        away = self.steep.basis @ self.leads
        penalty = 2.0 * setting.arena.penalties[:, None] * (away + setting.optimum.scaled)
        gradient = share * (spectrum.vectors * spectrum.eigenvalues) @ (spectrum.vectors.T @ away)
        whole = gradient + (1.0 - share) * penalty
        return np.asarray(self.push.rate / (1.0 - self.push.momentum) * whole)

    @cached_property
    def is_stable(self) -> bool | None:
        """See `shuffled_outlook`."""
        if not len(self.steep.eigenvalues):
            return True
        hessian = self.setting.spectrum.eigenvalues
        if logs_of(losses(self.push, hessian[hessian > 0.0] * self.scale)).real.max() > 0.0:
            return False
        growth = self.courses()[0].growth(_ORDERS)
        if not growth <= _SURELY_NOT:
            return False
        settles = self.response.logs.real.max() < 0.0 and self.term <= _LARGEST_TERM
        return True if settles and growth <= _SURELY else None

    @property
    def scale(self) -> float:
        """What the Hessian of the loss is multiplied by to be a batch's, in the mean; but for a penalty."""
        return _scale(self.setting, self.rhythm)

    @property
    def lasts(self) -> int:
        """Steps until next to nothing is left of the expected gap; 0 where it does not go away."""
        slowest = self.response.logs.real.max(initial=-np.inf)
        return int(min(np.log(_LEFT) / slowest, _MOST_STEPS)) if slowest < 0.0 else 0

    @property
    def rates(self) -> FloatArray:
        """(k,) along the spectrum's directions."""
        along = self.setting.spectrum.vectors.T @ self.steep.basis
        curvature = (np.square(along) * self.steep.eigenvalues).sum(axis=1)
        return np.asarray(np.exp(logs_of(losses(self.push, curvature)).real.max(axis=1)))

    def deviations(self, covariances: FloatArray) -> FloatArray:
        """(m, q) in the user's units, of (q, g, g)."""
        return np.sqrt(np.maximum([np.diag(c) for c in self.in_users_units(covariances)], 0.0)).T

    def in_users_units(self, covariances: FloatArray) -> FloatArray:
        """(q, m, m) of (q, g, g)."""
        return np.stack([own @ covariance @ own.T for own, covariance in zip(self._maps, covariances, strict=True)])

    @cached_property
    def _maps(self) -> FloatArray:
        """(q, m, g) from parts along the directions to the user's units."""
        (m, g), q, units = self.steep.basis.shape, self.leads.shape[1], self.setting.problem.units
        ones = np.broadcast_to(self.steep.basis.T[:, :, None], (g, m, q))
        return (units.to_user(ones) - units.to_user(np.zeros((m, q)))).transpose(2, 1, 0)


def _eigen(curvature: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues and eigenvectors of what is symmetric but for rounding; of what has left float64 its diagonal."""
    if not np.isfinite(curvature).all():
        return np.diag(curvature).copy(), np.eye(len(curvature))
    eigenvalues, vectors = np.linalg.eigh((curvature + curvature.T) / 2.0)
    return eigenvalues, vectors


def _part(frame: Frame, which: FloatArray) -> Frame:
    return Frame(
        frame.basis[:, which], frame.eigenvalues[which], frame.gap[which], frame.velocity[which], frame.optimum[which]
    )


def _scale(setting: Setting, rhythm: Rhythm) -> float:
    return rhythm.mean_sum / (1.0 if setting.problem.loss == "mse" else setting.plan.rows)


def _first(setting: Setting, rhythm: Rhythm, steep: Frame) -> FloatArray:
    """(g, g + q) the first term of the module's first lines, along the directions, a penalty inside."""
    scale = _scale(setting, rhythm)
    sides = np.hstack([steep.basis, -setting.optimum.scaled])
    penalties = steep.basis.T @ (2.0 * setting.arena.penalties[:, None] * sides)
    diagonal = np.hstack([np.diag(scale * steep.eigenvalues), np.zeros_like(steep.gap)])
    return np.asarray(diagonal + (1.0 - scale) * penalties)


def _later(setting: Setting, rhythm: Rhythm, sample: RowSample, reach: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The second and the third term, (g, g + q) each; `reach` as `_reach` gives it, or one for all columns."""
    n, batches = setting.plan.rows, rhythm.per_epoch
    rows, weighted = sample.rows, sample.rows * sample.weights[:, None]
    g, z = rows.shape[1], np.hstack([rows, sample.residuals])
    squares, mean = np.square(rows), weighted.T @ z
    lengths = squares @ reach
    weighing = weighted.T @ (lengths * z)
    second = weighing - mean[:, :g] @ (reach * mean)
    third = weighted.T @ (np.square(lengths) * z) - weighing[:, :g] @ (reach * mean)
    # Between two steps the mean of the rows is as good as diagonal: these are eigenvectors.
    third -= weighted.T @ (squares @ (np.diag(mean)[:, None] * np.square(reach)) * z)
    third += mean[:, :g] @ (reach * (2.0 * mean[:, :g] @ (reach * mean) - weighing))
    triples = 4.0 / 3.0 * (batches - 2) / max(batches - 1, 1) / ((n - 1) * max(n - 2, 1))
    return rhythm.sums * second / (n - 1), rhythm.sums * triples * third


def _reach(rhythm: Rhythm, response: Response, decays: FloatArray) -> FloatArray:
    """(g, c) how far a unit of a batch's gradient moves the parameters in the other batches of its epoch.

    Along g directions, in the mean over the batches that come after it. Of parts that decay themselves, with logs
    `decays` (c,), as they still are when the gradient is met.
    """
    count = rhythm.per_epoch
    logs = response.logs[:, None] - decays
    logs = np.where(logs.real > 0.0, 1j * logs.imag, logs)
    # Sums of (count - k) powers (k - 1), k = 1 ..
    lost = -np.expm1(logs)
    sums = np.where(lost == 0.0, count * (count - 1) / 2, (count - summed(logs, count)) / lost) * np.exp(-decays)
    moved = (response.kicks[:, None] * sums).reshape(response.directions, response.each, len(decays))
    return np.asarray(-moved.sum(axis=1).real * rhythm.sums / count)


def _response(push: Push, frame: Frame) -> Response:
    """How the directions' modes answer to a unit of gradient."""
    g = len(frame.eigenvalues)
    kick = Frame(
        frame.basis, frame.eigenvalues, np.full((g, 1), -push.ahead * push.rate), np.full((g, 1), -push.rate),
        np.zeros((g, 1)),
    )  # fmt: skip
    modes = decoupled(push, kick)
    logs, kicks = modes.logs[0].ravel(), modes.coefficients[0, :, 0].ravel()
    return Response(logs, kicks, g) if logs.imag.any() else Response(logs.real.copy(), kicks.real.copy(), g)


def _learning_rates(chance: _Chance) -> LearningRates:
    """See `shuffled_outlook`."""
    setting, push, plan = chance.setting, chance.push, chance.setting.plan
    hessian = setting.spectrum.eigenvalues[setting.spectrum.eigenvalues > 0.0] * chance.scale
    bound = largest_stable(push, hessian.max(initial=0.0))
    if bound is None or not len(hessian):
        return LearningRates(bound)
    key = ("shuffled rates", plan.batch_size, plan.steps_per_epoch, setting.solver.dtype, replace(push, rate=0.0))

    def find() -> LearningRates:
        mean = quickest(lambda rate: _mean_growth(replace(push, rate=rate), hessian), bound, _PRECISION)
        steep, own = setting.spectrum.vectors[:, ~setting.spectrum.is_flat], chance.noise
        noise = Sample(own.rows @ steep, own.residuals[:, 0], own.weights).noise
        largest = crossing(lambda rate: _square_growth(chance, noise, rate), bound / 2.0, _PRECISION)
        return LearningRates(largest, None if largest is None else min(mean, largest / 2.0))

    return setting.kept.once(key, find)


def _mean_growth(push: Push, hessian: FloatArray) -> float:
    return float(logs_of(losses(push, hessian)).real.max())


def _square_growth(chance: _Chance, noise: Noise, rate: float) -> float:
    """(g - 1) / (g + 1), g being `ShuffledCourse.growth` at another rate with batches that are drawn by themselves.

    `noise` is that of the rows along the Hessian's directions.
    """
    setting, push, rhythm = chance.setting, replace(chance.push, rate=rate), chance.rhythm
    spectrum = setting.spectrum
    steep = spectrum.vectors[:, ~spectrum.is_flat]
    hessian = spectrum.eigenvalues[~spectrum.is_flat] * chance.scale
    if _mean_growth(push, hessian) >= 0.0:
        return 1.0
    none = np.zeros((len(hessian), 1))
    response = _response(push, Frame(steep, hessian, none, none, none))
    alone = rhythm.noise - rhythm.bridge * rhythm.sums**2
    held = response.covariance(response.kick_pairs * alone / -np.expm1(response.pairs))
    growth = growth_of(noise, held, _ORDERS)
    return (growth - 1.0) / (growth + 1.0)


@dataclass(frozen=True, eq=False)
class _Course:
    """Expected gaps (t, m, q) and covariances (t, q, g, g) at times (t,)."""

    chance: _Chance
    times: FloatArray
    gaps: FloatArray
    covariances: FloatArray

    def place(self, steps: int) -> int:
        """Of so many steps among the times, or of the last that is finite."""
        finite = np.isfinite(self.gaps).all(axis=(1, 2)) & np.isfinite(self.covariances).all(axis=(1, 2, 3))
        return int(np.flatnonzero(finite & (self.times <= steps))[-1:].sum())

    @cached_property
    def lengths(self) -> FloatArray:
        """(t,) of the gap over all parameters."""
        spread = np.trace(self.covariances, axis1=2, axis2=3).sum(axis=1)
        return np.asarray(np.sqrt(np.square(self.gaps).sum(axis=(1, 2)) + np.maximum(spread, 0.0)))

    @cached_property
    def lengths_by_direction(self) -> FloatArray:
        """(t, k)."""
        vectors, basis = self.chance.setting.spectrum.vectors, self.chance.steep.basis
        along = vectors.T @ basis
        spread = np.einsum("kg,tqgh,kh->tk", along, self.covariances, along, optimize=True)
        squares = np.square(vectors.T @ self.gaps).sum(axis=2)
        return np.asarray(np.sqrt(squares + np.maximum(spread, 0.0)))

    @cached_property
    def lengths_of_user(self) -> FloatArray:
        """(t,) in the user's units."""
        chance, setting = self.chance, self.chance.setting
        away = setting.problem.units.to_user(setting.optimum.scaled + self.gaps) - setting.optimum.parameters
        spread = [np.trace(chance.in_users_units(c), axis1=1, axis2=2).sum() for c in self.covariances]
        return np.asarray(np.sqrt(np.square(away).sum(axis=(1, 2)) + np.maximum(spread, 0.0)))

    @cached_property
    def steps_to(self) -> FloatArray:
        """See `Outlook`."""
        return self._steps_to(self.lengths)

    @cached_property
    def steps_to_by_direction(self) -> FloatArray:
        """See `Outlook`."""
        by_direction = [self._steps_to(lengths) for lengths in self.lengths_by_direction.T]
        return np.array(by_direction).reshape(-1, len(FRACTIONS))

    def _steps_to(self, lengths: FloatArray) -> FloatArray:
        return _within_from(self.times, lengths, _EVERY * lengths[0])

    def steps_until(self, gap: float) -> int | None:
        """See `Outlook`."""
        [steps] = _within_from(self.times, self.lengths_of_user, np.array([gap])).tolist()
        return None if np.isnan(steps) else int(steps)


class _March:
    """Goes along with all targets."""

    def __init__(self, chance: _Chance) -> None:
        self._chance, self._courses = chance, chance.courses()
        self._times = [0]

    def go(self, steps: int) -> None:
        """Up to so many steps, if it has not come so far."""
        chance, plan = self._chance, self._chance.setting.plan
        place = (plan.into_epoch + self._times[-1]) % plan.steps_per_epoch
        taken = list(moves(chance.rhythm, place, self._times[-1], steps))
        for course in self._courses:
            course.go(taken)
        for move in taken:
            self._times.append(self._times[-1] + move.batches + move.epochs * plan.steps_per_epoch)

    @property
    def seen(self) -> _Course:
        """What there was to see so far."""
        chance, plan = self._chance, self._chance.setting.plan
        times = np.array(self._times, dtype=np.float64)
        places = (plan.into_epoch + np.array(self._times)) % plan.steps_per_epoch
        flat = decoupled(chance.push, chance.flat).at(times[None])[0]
        own = np.stack([np.array(course.gaps) for course in self._courses], axis=2)
        gaps = chance.steep.basis @ own + np.moveaxis(np.tensordot(chance.flat.basis, flat, 1), 2, 0)
        gaps += chance.swings(places)
        gaps[0] = chance.setting.gap_at_start
        covariances = np.stack([np.array(course.covariances) for course in self._courses], axis=1)
        return _Course(chance, times, gaps, covariances)


def _within_from(times: FloatArray, lengths: FloatArray, levels: FloatArray) -> FloatArray:
    """From when on lengths stay at or below each level, between two times in the way of powers; NaN where never."""
    above = ~(lengths <= levels[:, None])
    last = len(times) - 1 - above[:, ::-1].argmax(axis=1)
    until = np.minimum(last + 1, len(times) - 1)
    share = np.log(lengths[last] / levels) / np.log(lengths[last] / lengths[until])
    found = np.ceil(times[last] + share * (times[until] - times[last]))
    return np.where(above.any(axis=1), np.where(last < until, found, np.nan), 0.0)
