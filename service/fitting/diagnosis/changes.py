"""What could be asked for instead: changed settings, each by one thing, with numbers that people can read."""

from dataclasses import fields, replace
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal
from math import inf, sqrt
from typing import Any

from service.fitting.arrays import FloatArray
from service.fitting.descent.optimizers import Adam, Adamw, Optimizer, Sgd, Usual
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.scaling import Scaling, ScalingKind
from service.fitting.solver import Stop

#: Of the largest stable learning rate: most that is proposed.
_MOST_OF_STABLE = 0.99
#: What the ratio of the largest to the least eigenvalue has to come down to for scaling to be proposed.
_GAIN = 0.5
#: Digits of what is proposed.
_DIGITS = 2


def with_options(setting: Setting, **options: Any) -> Setting:
    """With other options of the solver, and the same start."""
    return setting.with_solver(replace(setting.solver, **options), setting.ended)


def unstopped(setting: Setting, gap: float, *, timed: bool) -> Setting:
    """Without the rules that may stop it before its gap is below a number; with its time limit where it is `timed`."""
    stop = setting.solver.stop
    harmless = stop.gap_tolerance is not None and stop.gap_tolerance <= gap
    kept = Stop(gap_tolerance=stop.gap_tolerance if harmless else None, max_seconds=stop.max_seconds if timed else None)
    return setting if kept == stop else with_options(setting, stop=kept)


def undisturbed(setting: Setting) -> Setting:
    """By the optimizer's own rule and nothing beside it: no weight decay, no clipping, no running mean."""
    optimizer = setting.solver.optimizer
    usual: dict[str, Any] = {option.name: option.default for option in fields(Usual)}
    if isinstance(optimizer, Adamw):
        own = {option.name: getattr(optimizer, option.name) for option in fields(Adam)}
        return with_options(setting, optimizer=Adam(**{**own, **usual, "kind": "adam"}))
    plain = replace(optimizer, **usual)
    return setting if plain == optimizer else with_options(setting, optimizer=plain)


def in_double(setting: Setting) -> Setting:
    """In double precision."""
    return with_options(setting, dtype="float64")


def by_all_rows(setting: Setting) -> Setting:
    """With every step by all rows."""
    return with_options(setting, batch_size=None)


def standardised(setting: Setting, *, targets: bool = False) -> Setting | None:
    """With features in units of their own spread, and targets too where that is asked for; None where it is no gain."""
    problem = setting.problem
    kind: ScalingKind = "standard" if problem.model.intercept else "maxabs"
    scaled = setting.with_scaling(Scaling(kind, kind if targets else problem.scaling.targets))
    if scaled is None or scaled is setting:
        return None
    return scaled if targets or _condition(scaled) < _GAIN * _condition(setting) else None


def at_best_rate(setting: Setting, seen: Outlook | None) -> Setting | None:
    """With the constant learning rate that is best for its slowest direction; None where there is none.

    Parameters
    ----------
    seen
        What will become of the setting as it is. Where that does not tell the best rate, it gets plain `Sgd`, and the
        best rate of steps by all rows.
    """
    optimizer: Optimizer = setting.solver.optimizer
    best, stable = (None, None) if seen is None else (seen.best_learning_rate, seen.largest_stable_learning_rate)
    if best is None or stable is None:
        steep = _steep(setting)
        if len(steep) == 0:
            return None
        optimizer, best, stable = Sgd(), 2.0 / float(steep.min() + steep.max()), 2.0 / float(steep.max())
    rate = rounded_down(min(best, _MOST_OF_STABLE * stable))
    return with_options(setting, optimizer=replace(optimizer, learning_rate=rate)) if 0.0 < rate < inf else None


def with_momentum(setting: Setting) -> Setting | None:
    """By all rows with the heavy ball's best momentum and rate (Polyak 1964); None where momentum is no gain.

    With eigenvalues mu to L of the Hessian the best rate is (2 / (sqrt(L) + sqrt(mu)))^2, and the momentum belonging to
    a rate up to that one (1 - sqrt(rate mu))^2: all gaps shrink by its root a step. With a momentum rounded up they
    shrink by the root of that.
    """
    steep = _steep(setting)
    if len(steep) == 0 or not steep.max() > steep.min():
        return None
    least, largest = float(steep.min()), float(steep.max())
    rate = rounded_down((2.0 / (sqrt(largest) + sqrt(least))) ** 2)
    momentum = float(1 - _rounded(1.0 - (1.0 - sqrt(rate * least)) ** 2, ROUND_DOWN))
    if not (0.0 < momentum < 1.0 and rate < inf):
        return None
    return with_options(by_all_rows(setting), optimizer=Sgd(rate, momentum))


def longer(setting: Setting, steps: int) -> Setting:
    """With so many steps, in whole epochs of a round number."""
    epochs = rounded_up(-(-max(steps, 1) // setting.plan.steps_per_epoch))
    return with_options(setting, epochs=epochs, max_steps=None)


def rounded_down(value: float) -> float:
    """The number of a few digits that is next to a positive one from below."""
    return float(_rounded(value, ROUND_DOWN))


def rounded_up(value: int) -> int:
    """The integer of a few digits, the rest zeros, that is next to a positive one from above."""
    return int(_rounded(value, ROUND_UP))


def _rounded(value: float, rounding: str) -> Decimal:
    return Context(prec=_DIGITS, rounding=rounding).create_decimal(str(value))


def _condition(setting: Setting) -> float:
    """The largest over the least eigenvalue that is not 0."""
    steep = _steep(setting)
    return float(steep.max() / steep.min()) if len(steep) else 1.0


def _steep(setting: Setting) -> FloatArray:
    """The eigenvalues that are not 0."""
    eigenvalues = setting.spectrum.eigenvalues
    return eigenvalues[eigenvalues > 0.0]
