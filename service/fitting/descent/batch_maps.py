"""What a step of gradient descent by a fixed batch does: an affine map, in doubled precision.

For `Sgd` with a constant rate r a step takes z = (D, V), D = W - W* and V the velocity, to an affine image of itself; D
alone without momentum. With the batch's gradient G = K D + C, K = f H_b + 2 P and C = 2 P W* - f S_b (H_b and S_b as in
`numpy_statistics`, f what the loss makes of squares, P the penalties):

- the decay d takes D to (1 - d r) D - d r W*;
- plain: D <- decayed D - r G;
- momentum mu: V <- mu V - r G; D <- decayed D + V, or decayed D + mu V - r G after Nesterov.
"""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.affine_maps import joined, part, plus, times
from service.fitting.descent.engine import Arena
from service.fitting.descent.optimizers import Sgd
from service.fitting.reference.double_double import Pair, multiply, two_product, two_sum
from service.fitting.reference.gram_factor import LARGEST_SQUARE, LEAST_SQUARE

#: Products of numbers of a row that are held at once.
_PASS_NUMBERS = 1 << 18


@dataclass(frozen=True, eq=False)
class BatchStatistics:
    """What of each batch's rows A_b and R_b = Y_b - A_b W* a closed form needs.

    Attributes
    ----------
    products
        [H_b S_b] (b, m, m + q), in doubled precision.
    triangles
        (b, m + q, m + q) the triangles of [A_b R_b]: the squares at D are those of the columns of triangle [D; -I],
        which cancel nowhere.
    """

    products: Pair
    triangles: FloatArray

    @classmethod
    def of(cls, arena: Arena) -> "BatchStatistics":
        """One pass over the rows."""
        plan, (_, m, q) = arena.plan, arena.shape
        count = plan.steps_per_epoch
        products, triangles = Pair.of(np.zeros((count, m, m + q))), np.zeros((count, m + q, m + q))
        for batches, *rows in arena.rows.batches(plan, 0, count, max(_PASS_NUMBERS // (m * (m + q)), 1)):
            design, targets = (Pair.of(values.astype(np.float64, copy=False)) for values in rows)
            residuals = plus(targets, times(design, Pair.of(-arena.optimum)))
            whole = joined(design, residuals, axis=1)
            stacked = Pair(*(half.reshape(batches.stop - batches.start, -1, m + q) for half in whole))
            transposed = Pair(*(half[..., :m].transpose(0, 2, 1) for half in stacked))
            added = plus(Pair(*(half[batches] for half in products)), times(transposed, stacked))
            products.high[batches], products.low[batches] = added
            triangles[batches] = np.linalg.qr(np.concatenate([triangles[batches], stacked.high], axis=1), mode="r")
        return cls(products, triangles)

    @property
    def are_in_range(self) -> bool:
        """Whether no product of the data has left float64, on either side."""
        sizes = np.abs(self.triangles).max(axis=(0, 1))[: self.products.high.shape[1]]
        inside = (sizes == 0.0) | ((np.square(sizes) > LEAST_SQUARE) & (np.square(sizes) < LARGEST_SQUARE))
        return bool(inside.all() and np.isfinite(self.products.rounded).all())


def batch_maps(arena: Arena, sgd: Sgd, rate: float, statistics: BatchStatistics) -> Pair:
    """(b, k, k + q) the maps of the batches, as `affine_maps` keeps them; k is m, or 2 m with momentum."""
    pushed = multiply(Pair.of(np.array(-rate)), _gradients(arena, statistics))
    decayed = _decayed(arena, rate, sgd.weight_decay or 0.0)
    if sgd.momentum == 0.0:
        return plus(decayed, pushed)
    mu, size = sgd.momentum, len(arena.optimum)
    ahead = Pair(*two_sum(np.array(1.0), np.array(mu))) if sgd.nesterov else Pair.of(np.array(1.0))
    carried = Pair(*two_product(np.array(mu), np.array(mu))) if sgd.nesterov else Pair.of(np.array(mu))
    moved = plus(decayed, multiply(ahead, pushed))
    return joined(_with_velocity(moved, carried, size), _with_velocity(pushed, Pair.of(np.array(mu)), size), axis=-2)


def about(maps: Pair, offset: Pair) -> Pair:
    """The same maps of W - (W* + offset), for the first m of the k numbers of z; `offset` (m, q)."""
    m, k = len(offset.high), maps.high.shape[-2]
    still = joined(offset, Pair.of(np.zeros((k - m, offset.high.shape[1]))), axis=0)
    moved = plus(times(part(maps, slice(k)), still), part(maps, slice(k, None)))
    shift = plus(moved, Pair(-still.high, -still.low))
    return joined(part(maps, slice(k)), shift, axis=-1)


def _gradients(arena: Arena, statistics: BatchStatistics) -> Pair:
    """[K C] (b, m, m + q)."""
    _, m, q = arena.shape
    rows = arena.plan.rows_of(np.arange(1, arena.plan.steps_per_epoch + 1))
    of_squares = (
        _quotient(2.0, (rows * q).astype(np.float64)) if arena.loss == "mse" else Pair.of(np.full(len(rows), 2.0))
    )
    signs = np.append(np.ones(m), -np.ones(q))
    scaled = multiply(part(of_squares, slice(None), None, None), Pair(*(half * signs for half in statistics.products)))
    penalties = 2.0 * arena.penalties
    drawn, lost = two_product(penalties[:, None], arena.optimum)
    return plus(scaled, Pair(np.hstack([np.diag(penalties), drawn]), np.hstack([np.zeros((m, m)), lost])))


def _decayed(arena: Arena, rate: float, decay: float) -> Pair:
    """[(1 - d r) I, -d r W*] (m, m + q)."""
    _, m, q = arena.shape
    lost = Pair(*(-half for half in two_product(np.array(decay), np.array(rate))))
    kept = plus(Pair.of(np.array(1.0)), lost)
    rows = Pair.of(np.hstack([np.eye(m), np.zeros((m, q))])), Pair.of(np.hstack([np.zeros((m, m)), arena.optimum]))
    return plus(multiply(kept, rows[0]), multiply(lost, rows[1]))


def _with_velocity(rows: Pair, factor: Pair, size: int) -> Pair:
    """(b, m, m + q) with `factor` times the velocity added, between what D and what the constant is multiplied by."""
    velocity = multiply(factor, Pair.of(np.broadcast_to(np.eye(size), (len(rows.high), size, size))))
    return joined(part(rows, slice(size)), velocity, part(rows, slice(size, None)), axis=-1)


def _quotient(number: float, divisors: FloatArray) -> Pair:
    quotient = number / divisors
    product, error = two_product(quotient, divisors)
    return Pair(quotient, ((number - product) - error) / divisors)
