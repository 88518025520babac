"""How the gradients of random batches differ: what the rows of a problem have to say of it.

With rows a_i and residuals r_i at the optimum, both times the root of the f by which the loss's gradient is made of
f a_i a_i' and f a_i r_i', row i stands for X_i = a_i a_i' and x_i = a_i r_i'. A batch of s rows has at the gap D the
gradient k (mean of X_i D - x_i), penalties apart; k is 1 for a mean, s for a sum. Of batches that are drawn without
replacement the covariance of two such means is C / (n - 1) times (n / s if they are the same) - 1, C being that of all
rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.setting import Setting

#: Rows of the sample that stands for all of them; and those that are in it because they weigh most, by either measure.
_SAMPLED, _HEAVIEST = 1024, 64


@dataclass(frozen=True, eq=False)
class RowSample:
    """All rows, or the heaviest and some of the others; see the module's first lines.

    Attributes
    ----------
    rows, residuals, weights
        (s, m), (s, q) and (s,), which sum up to 1.
    """

    rows: FloatArray
    residuals: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, setting: Setting) -> "RowSample":
        """Two passes over the rows, made once for all settings of them."""
        key = ("row sample", setting.solver.dtype, setting.problem.loss)
        return setting.kept.once(key, lambda: _drawn(setting))

    def along(self, basis: FloatArray) -> "RowSample":
        """The same with rows (s, g) along directions (m, g)."""
        return replace(self, rows=self.rows @ basis)


def _drawn(setting: Setting) -> RowSample:
    n, m, _ = setting.arena.shape
    lengths, residuals = np.empty(n), np.empty(n)
    for part, z in _blocks(setting):
        lengths[part], residuals[part] = (np.square(half).sum(axis=1) for half in (z[:, :m], z[:, m:]))
    chosen, weights = _chosen(lengths, lengths * residuals)
    picked = [z[chosen[(part.start <= chosen) & (chosen < part.stop)] - part.start] for part, z in _blocks(setting)]
    z = np.concatenate(picked)
    return RowSample(z[:, :m], z[:, m:], weights)


def _blocks(setting: Setting) -> Iterator[tuple[slice, FloatArray]]:
    """Rows [a r] (b, m + q), times the root of f, some at a time; and which they are."""
    arena = setting.arena
    n, m, q = arena.shape
    root = np.sqrt(2.0 / q if arena.loss == "mse" else 2.0)
    for first in range(0, n, arena.rows.block_rows):
        last = min(first + arena.rows.block_rows, n)
        z = root * np.hstack(arena.rows.block(first, last)).astype(np.float64)
        z[:, m:] -= z[:, :m] @ arena.optimum
        yield slice(first, last), z


def _chosen(*measures: FloatArray) -> tuple[IntArray, FloatArray]:
    """Places of a sample, ascending, and what each row in it counts for."""
    n = len(measures[0])
    if n <= _SAMPLED:
        return np.arange(n), np.full(n, 1.0 / n)
    heavy = np.unique(np.concatenate([np.argpartition(measure, n - _HEAVIEST)[-_HEAVIEST:] for measure in measures]))
    others = np.delete(np.arange(n), heavy)
    drawn = np.random.Generator(np.random.PCG64(0)).choice(others, _SAMPLED - len(heavy), replace=False)
    places = np.sort(np.concatenate([heavy, drawn]))
    return places, np.where(np.isin(places, heavy), 1.0, len(others) / len(drawn)) / n
