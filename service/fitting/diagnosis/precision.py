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

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.descent.working_rows import WorkingRows
from service.fitting.diagnosis.foreseen import Outlook
from service.fitting.diagnosis.frame import in_users_units

#: The standard deviation of what rounding leaves, in spacings.
_SPREAD = 1.0 / np.sqrt(12.0)


# What leaves float64 is data here: it comes out as inf or NaN.
@np.errstate(all="ignore")
def precision_floor(setting: Setting, outlook: Outlook) -> float:
    """The Euclidean gap in the user's units that is left where rounding stops a descent.

    An estimate: what is measured was between a thirtieth of it and three times as much. Of optimizers other than `Sgd`
    it knows nothing of updates that are lost; and what is computed in closed form, without steps, loses none.
    """
    place = setting.optimum.scaled if outlook.limit is None else outlook.limit
    spacing = np.spacing(np.abs(place).astype(setting.solver.dtype)).astype(np.float64)
    spectrum = setting.spectrum
    vectors = spectrum.vectors[:, ~spectrum.is_flat]
    parts = [
        (np.eye(len(place)), _SPREAD * spacing),
        (vectors, _lost(setting, vectors, spacing)),
        (vectors, _of_rounded_rows(setting, vectors)),
        (vectors, _of_rounded_sums(setting, vectors)),
    ]
    return float(np.sqrt(sum(np.square(_length(setting, *part)) for part in parts)))


def _lost(setting: Setting, vectors: FloatArray, spacing: FloatArray) -> FloatArray:
    """(k, q) what updates that are lost leave of the gap along each vector: no more than there was of it."""
    sgd, plan = setting.solver.optimizer, setting.plan
    if not isinstance(sgd, Sgd):
        return np.zeros((vectors.shape[1], spacing.shape[1]))
    rate = float(setting.beginning.rule.numbers(0, 1)[0, 0]) / (1.0 - sgd.momentum)
    pull = rate * setting.spectrum.eigenvalues[~setting.spectrum.is_flat][:, None]
    spread = np.sqrt(np.square(vectors.T) @ np.square(spacing))
    rest = spread / np.sqrt(24.0 * pull) if plan.reshuffles else spread / (2.0 * pull * np.sqrt(plan.steps_per_epoch))
    lost: FloatArray = np.minimum(rest, np.abs(vectors.T @ setting.gap_at_start))
    return lost


def _of_rounded_rows(setting: Setting, vectors: FloatArray) -> FloatArray:
    """(k, q) how far the optimum of rounded rows is away."""
    if setting.solver.dtype == "float64":
        return np.zeros((vectors.shape[1], setting.optimum.scaled.shape[1]))
    pull = setting.kept.once(("pull of rounded rows", setting.solver.dtype), lambda: _pull_of_rounded_rows(setting))
    moved: FloatArray = vectors.T @ pull / np.square(_sizes(setting))
    return moved


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


def _of_rounded_sums(setting: Setting, vectors: FloatArray) -> FloatArray:
    """(k, q) what comes of rounded predictions, targets and sums over the rows."""
    optimum, triangle, sizes = setting.optimum, setting.optimum.triangle, _sizes(setting)
    rounding = _SPREAD * float(np.finfo(setting.solver.dtype).eps)
    columns = np.square(triangle).sum(axis=0)
    residuals = optimum.scaled_least * setting.problem.divisor
    fitted = columns @ np.square(optimum.scaled)
    rows = setting.plan.rows
    predictions = np.sqrt((fitted + np.square(triangle @ optimum.scaled).sum(axis=0) + residuals) / rows)
    sums = np.sqrt(columns @ np.square(vectors) * residuals / rows)[:, None]
    parts: FloatArray = rounding * (predictions / sizes + sums / np.square(sizes))
    return parts


def _sizes(setting: Setting) -> FloatArray:
    """(k, 1) the singular values of the design that are not 0."""
    spectrum = setting.spectrum
    eigenvalues = spectrum.eigenvalues[~spectrum.is_flat]
    return np.sqrt(eigenvalues * setting.problem.divisor / 2.0)[:, None]


def _length(setting: Setting, directions: FloatArray, parts: FloatArray) -> float:
    """In the user's units, of independent parts (k, q) along directions (m, k)."""
    units = setting.problem.units
    lengths = np.linalg.norm(in_users_units(directions, units), axis=0)
    return float(np.linalg.norm(lengths[:, None] * parts * units.targets.spread))
