"""Descent by all rows: each direction of the spectrum goes its own way, whatever the others do.

Along an eigenvector with eigenvalue l, D being the gap, V the velocity, w the optimum's part, r the rate, mu the
momentum and d the decay, a step is with x = r l

- plain: D <- (1 - d r - x) D - d r w;
- with momentum: V <- mu V - x D; D <- (1 - d r) D - d r w + V, or .. + mu V - x D after Nesterov.

The roots 1 - s of that map solve s^2 - b s + c = 0 with c = x + (1 - mu) d r, in which nothing cancels; s = x + d r
without momentum. It leads to D = -(1 - mu) d w / (l + (1 - mu) d).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.diagnosis.frame import Frame, Push
from service.fitting.diagnosis.modes import ComplexArray, Modes, logs_of

#: Roots that are one are taken apart by so much of themselves, squared: powers of both are the same to eight digits.
_APART = 1e-15
_EPSILON = float(np.finfo(np.float64).eps)


def losses(push: Push, eigenvalues: FloatArray) -> ComplexArray:
    """(.., 1) or (.., 2) the s of each direction, the slow one last; `eigenvalues` (..)."""
    x = push.rate * eigenvalues
    if push.momentum == 0.0:
        return (x + push.decay).astype(np.complex128)[..., None]
    b = push.decay + push.ahead * x + (1.0 - push.momentum)
    c = x + (1.0 - push.momentum) * push.decay
    within = np.square(b) - 4.0 * c
    least = _APART * np.square(b)
    root = np.sqrt(np.where(np.abs(within) < least, least, within).astype(np.complex128))
    quick = (b + root) / 2.0
    return np.stack([quick, c / quick], axis=-1)


def decoupled(push: Push, frame: Frame) -> Modes:
    """(1, g, q) the gap along each direction, with the modes of its own."""
    lost = losses(push, frame.eigenvalues)
    held = (1.0 - push.momentum) * push.weight_decay
    pulled = frame.eigenvalues + held
    shares = np.divide(held, pulled, out=np.zeros_like(pulled), where=pulled > 0.0)
    limits = -frame.optimum * shares[:, None]
    coefficients = _coefficients(push, frame, lost, frame.gap - limits)
    stays = lost == 0.0
    limits = limits + (coefficients * stays[:, None]).sum(axis=-1).real
    passing = np.where(stays[:, None], 0.0, coefficients)
    return Modes(limits[None], passing[None], logs_of(np.where(stays, 1.0, lost))[None])


@dataclass(frozen=True, eq=False)
class Decoupled:
    """A `Course` by all rows, one step an epoch.

    Attributes
    ----------
    own
        As `decoupled` gives them.
    """

    push: Push
    frame: Frame
    own: Modes

    @classmethod
    def of(cls, push: Push, frame: Frame) -> "Decoupled":
        return cls(push, frame, decoupled(push, frame))

    @property
    def rates(self) -> FloatArray:
        """(g,) what a step multiplies the gap along each direction by: the larger root's size."""
        return np.asarray(np.exp(logs_of(losses(self.push, self.frame.eigenvalues)).real.max(axis=1)))

    @property
    def shape(self) -> tuple[int, int]:
        """See `Course`."""
        return 1, self.own.limits.shape[1]

    def modes(self, positions: IntArray, parts: IntArray) -> Modes:  # noqa: ARG002
        """See `Course`."""
        own = self.own
        return Modes(own.limits[0][parts], own.coefficients[0][parts], own.logs[0][parts])

    def gaps(self, epochs: FloatArray, parts: slice = slice(None)) -> FloatArray:
        """See `Course`."""
        return self.own.at(epochs)[0, parts, None]

    @cached_property
    def is_stable(self) -> bool:
        """Whether all that changes goes to where it leads."""
        return bool((self.own.logs.real < 0.0).all())

    def error(self, steps: int) -> float:
        """About how large a share of the gap is wrong after so many steps."""
        push, eigenvalues, logs = self.push, self.frame.eigenvalues, self.own.logs[0].real
        # Singular values are right to a share of the largest one.
        rounding = 4.0 * _EPSILON * np.sqrt(eigenvalues * eigenvalues.max(initial=0.0))
        lasting = -1.0 / (logs[:, 0] if push.momentum == 0.0 else logs.max(axis=1))
        counted = np.where(lasting > 0.0, np.minimum(steps, lasting), steps)
        doubt = push.rate / (1.0 - push.momentum) * rounding * counted
        return float(doubt.max(initial=0.0) + _EPSILON * self._cancelled)

    @property
    def _cancelled(self) -> float:
        """How many times as large as what they add up to coefficients are: where two roots are nearly one."""
        if self.push.momentum == self.push.weight_decay == 0.0:
            return 1.0
        sizes = np.abs(self.own.coefficients).sum(axis=-1).max(initial=0.0)
        return float(sizes / (np.abs(self.after(0)).max(initial=0.0) or 1.0))

    def limit(self, position: int) -> FloatArray:  # noqa: ARG002
        """(g, q) where the gap leads, whatever the position."""
        limit: FloatArray = self.own.limits[0]
        return limit

    def after(self, steps: int) -> FloatArray:
        """(g, q) the gap after any number of steps."""
        powers = np.exp(self.own.logs[0] * float(steps))
        after: FloatArray = self.own.limits[0] + (self.own.coefficients[0] @ powers[..., None])[..., 0].real
        return after


def _coefficients(push: Push, frame: Frame, lost: ComplexArray, away: FloatArray) -> ComplexArray:
    """(g, q, 1) or (g, q, 2), of parts (g, q) counted from where they lead."""
    if lost.shape[-1] == 1:
        return away[..., None].astype(np.complex128)
    quick, slow = lost[:, :1], lost[:, 1:]
    x = (push.rate * frame.eigenvalues)[:, None]
    velocity = frame.velocity + x * (frame.gap - away) / (1.0 - push.momentum)
    # What the first step takes of them: both coefficients follow from these two.
    taken = (push.decay + push.ahead * x) * away - push.carried * velocity
    apart = quick - slow
    return np.stack([(taken - slow * away) / apart, (quick * away - taken) / apart], axis=-1)
