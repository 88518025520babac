"""How near to its reference rounding lets a descent come: `precision_floor(setting, outlook) -> float`.

Along an eigenvector v of the Hessian, with eigenvalue l and the singular value s of the design, three things keep a
descent by numbers of relative spacing e from the reference:

- an update of less than half the spacing of a parameter is lost: at the rate r a gap comes to rest near
  |v spacing| / (2 r l). Steps by b batches in a fixed order each round by themselves, and what is left of that over an
  epoch is sqrt(b) times less; shuffled, the roundings add up like chance, to |v spacing| / sqrt(24 r l);
- the rows are rounded before they are used: the optimum of rounded rows is another one, which is computed;
- predictions and sums are rounded: e |rows| / s and e |columns| |residuals| / s^2, where errors are taken for
  independent.
"""

import math
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray, length
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.descent.working_rows import WorkingRows
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.frame import in_users_units
from service.fitting.scaling import Units

#: The standard deviation of what rounding leaves, in spacings.
_SPREAD = 1.0 / math.sqrt(12.0)


# What leaves float64 is data here: it comes out as inf or NaN.
@np.errstate(all="ignore")
def precision_floor(setting: Setting, outlook: Outlook) -> float:
    """The Euclidean gap in the user's units that is left where rounding stops a descent.

    An estimate: what is measured was between a thirtieth of it and three times as much. Of optimizers other than `Sgd`
    it knows nothing of updates that are lost; and what is computed in closed form, without steps, loses none.
    """
    rounding = setting.started.once(("rounding", setting.solver.dtype), lambda: _Rounding(setting))
    place = setting.optimum.scaled if outlook.limit is None else outlook.limit
    spacing = np.spacing(np.abs(place).astype(setting.solver.dtype)).astype(np.float64)
    own, lost = rounding.length(rounding.axes, _SPREAD * spacing), rounding.lost(setting, spacing)
    return math.sqrt(sum(part * part for part in (own, lost, rounding.of_rows, rounding.of_sums)))


class _Rounding:
    """What rounding does whatever the optimizer, and what else there is to know of lost updates."""

    def __init__(self, setting: Setting) -> None:
        spectrum, units = setting.spectrum, setting.problem.units
        is_flat = spectrum.is_flat
        self._vectors, self._eigenvalues = spectrum.vectors[:, ~is_flat], spectrum.eigenvalues[~is_flat][:, None]
        self._gaps = np.abs(self._vectors.T @ setting.gap_at_start)
        self._spreads = units.targets.spread
        self._sizes = np.sqrt(self._eigenvalues * setting.problem.divisor / 2.0)
        #: (m, 1) and (k, 1) the lengths in the user's units, but for the targets', of steps along the parameters' own
        #: axes, and along the directions that the loss is not flat along.
        self.axes = _lengths(np.eye(len(setting.optimum.scaled)), units)
        self.directions = _lengths(self._vectors, units)
        self.of_rows = 0.0 if setting.solver.dtype == "float64" else self._of_rows(setting)
        self.of_sums = self._of_sums(setting)

    def length(self, lengths: FloatArray, parts: FloatArray) -> float:
        """In the user's units, of independent parts (k, q) along directions of lengths (k, 1)."""
        return length(lengths * parts * self._spreads)

    def lost(self, setting: Setting, spacing: FloatArray) -> float:
        """What updates that are lost leave of the gap along each direction: no more than there was of it."""
        sgd, plan = setting.solver.optimizer, setting.plan
        if not isinstance(sgd, Sgd):
            return 0.0
        pull = setting.beginning.rule.first_rate / (1.0 - sgd.momentum) * self._eigenvalues
        spread = np.sqrt(self._squares @ np.square(spacing))
        by = np.sqrt(24.0 * pull) if plan.reshuffles else 2.0 * pull * math.sqrt(plan.steps_per_epoch)
        return self.length(self.directions, np.minimum(spread / by, self._gaps))

    @cached_property
    def _squares(self) -> FloatArray:
        """(k, m) of the vectors."""
        return np.square(self._vectors.T)

    def _of_rows(self, setting: Setting) -> float:
        """How far the optimum of rounded rows is away."""
        pull = setting.kept.once(("pull of rounded rows", setting.solver.dtype), lambda: _pull_of_rounded_rows(setting))
        return self.length(self.directions, self._vectors.T @ pull / np.square(self._sizes))

    def _of_sums(self, setting: Setting) -> float:
        """What comes of rounded predictions, targets and sums over the rows."""
        optimum, triangle, sizes = setting.optimum, setting.optimum.triangle, self._sizes
        rounding = _SPREAD * float(np.finfo(setting.solver.dtype).eps)
        columns = np.square(triangle).sum(axis=0)
        residuals = optimum.scaled_least * setting.problem.divisor
        fitted = columns @ np.square(optimum.scaled)
        rows = setting.plan.rows
        predictions = np.sqrt((fitted + np.square(triangle @ optimum.scaled).sum(axis=0) + residuals) / rows)
        sums = np.sqrt(columns @ np.square(self._vectors) * residuals / rows)[:, None]
        return self.length(self.directions, rounding * (predictions / sizes + sums / np.square(sizes)))


def _pull_of_rounded_rows(setting: Setting) -> FloatArray:
    """(m, q) A'(Y - A W*) of rounded rows, less the penalties' pull, which is what it is for those that are not."""
    rows, optimum = WorkingRows(setting.problem, np.dtype(setting.solver.dtype)), setting.optimum.scaled
    penalties = setting.problem.penalties(setting.solver.penalty)
    pull = np.zeros_like(optimum) if penalties is None else -setting.problem.divisor * penalties[:, None] * optimum
    for first in range(0, rows.shape[0], rows.block_rows):
        design, targets = (
            part.astype(np.float64) for part in rows.block(first, min(first + rows.block_rows, rows.shape[0]))
        )
        pull += design.T @ (targets - design @ optimum)
    return pull


def _lengths(directions: FloatArray, units: Units) -> FloatArray:
    """(k, 1) of directions (m, k) in the user's units, but for the targets'."""
    lengths: FloatArray = np.linalg.norm(in_users_units(directions, units), axis=0)
    return lengths[:, None]
