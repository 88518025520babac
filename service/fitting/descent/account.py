"""What a trajectory says, worked out from the recorded parameters and batch residuals.

The loss on all rows, weights and penalty inside, is L(W) = L* + (1/d) |R (W - W*)|^2 with R'R = A'SA + D, d the loss's
divisor, D its penalties times d and W* the optimum in descent's units: exact near the optimum, where summing squares
cancels, and O(m^2) a point.
"""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.engine import Rows
from service.fitting.descent.plan import BatchPlan
from service.fitting.loss import Loss
from service.fitting.problem import Problem
from service.fitting.reference.least_squares import LeastSquares
from service.fitting.trajectory import Losses, Trajectory

#: Numbers in the working arrays of one pass over recorded rows.
_PASS_NUMBERS = 4_000_000


@dataclass(frozen=True, eq=False)
class Optimum:
    """The optimum a descent is measured against, penalised or not: in the user's units, and in descent's."""

    original: LeastSquares
    scaled: LeastSquares


@dataclass(frozen=True, eq=False)
class Excess:
    """How far parameters (r, m, q) in descent's units are above the optimum.

    `squares` (r, q) is |R (W - W*)|^2 a target in descent's units; `gradient` (r,) the norm of the gradient there.
    """

    squares: FloatArray
    gradient: FloatArray


def excess(problem: Problem, optimum: Optimum, parameters: FloatArray) -> Excess:
    """See `Excess`."""
    triangle = optimum.scaled.triangle
    size = max(_PASS_NUMBERS // (triangle.size + 1), 1)
    squares, gradients = [], []
    for first in range(0, len(parameters), size):
        image = triangle @ (parameters[first : first + size] - optimum.scaled.parameters)
        squares.append(np.square(image).sum(axis=1))
        gradients.append(2.0 / problem.divisor * np.linalg.norm(triangle.T @ image, axis=(1, 2)))
    return Excess(np.concatenate(squares), np.concatenate(gradients))


def losses_on_all_rows(problem: Problem, optimum: Optimum, above: Excess) -> FloatArray:
    """(r,) the loss in the user's units."""
    return loss_at_optimum(problem, optimum.original) + excess_loss(problem, above)


def excess_loss(problem: Problem, above: Excess) -> FloatArray:
    """(r,) the loss above its least value, in the user's units."""
    squares: FloatArray = above.squares @ _target_factors(problem) / problem.divisor
    return squares


def loss_at_optimum(problem: Problem, solution: LeastSquares) -> float:
    """The least loss, in the units `solution` was found in."""
    return solution.squares / problem.divisor


def distance(parameters: FloatArray, reference: FloatArray) -> FloatArray:
    """(r,) Euclidean distances of parameters (r, m, q) to a reference (m, q)."""
    return np.asarray(np.linalg.norm(parameters - reference, axis=(1, 2)))


def trajectory(problem: Problem, optimum: Optimum, plan: BatchPlan, rate: float, rows: Rows, keep: bool) -> Trajectory:
    """The recorded rows with everything that is said about them; coefficients only if `keep`."""
    batch = plan.batch_of(rows.step)
    parameters = rows.parameters.astype(np.float64, copy=False)
    user = problem.units.to_user(parameters)
    above = excess(problem, optimum, parameters)
    return Trajectory(
        terms=problem.model.terms,
        targets=problem.model.targets,
        total_steps=int(rows.step[-1]),
        step=rows.step,
        epoch=plan.epoch_of(rows.step),
        batch=batch,
        rows=plan.rows_of(batch),
        learning_rate=np.where(rows.step == 0, np.nan, rate),
        gradient_norm=above.gradient,
        original=Losses(
            *_met(plan, problem.loss, rows, _target_factors(problem)),
            loss=losses_on_all_rows(problem, optimum, above),
            gap=distance(user, optimum.original.parameters),
            coefficients=user if keep else None,
        ),
        scaled=None if problem.scaling.is_none else _scaled(problem, optimum, plan, rows, parameters, above, keep),
    )


def _scaled(
    problem: Problem,
    optimum: Optimum,
    plan: BatchPlan,
    rows: Rows,
    parameters: FloatArray,
    above: Excess,
    keep: bool,
) -> Losses:
    return Losses(
        *_met(plan, problem.loss, rows, np.ones(problem.y.shape[1])),
        loss=loss_at_optimum(problem, optimum.scaled) + above.squares.sum(axis=1) / problem.divisor,
        gap=distance(parameters, problem.units.to_scaled(optimum.original.parameters)),
        coefficients=parameters if keep else None,
    )


def _target_factors(problem: Problem) -> FloatArray:
    """(q,) what squared residuals in descent's units are multiplied by to be in the user's."""
    return np.square(problem.units.targets.spread)


def _met(plan: BatchPlan, loss: Loss, rows: Rows, factors: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """batch_loss, epoch_loss and epoch_rmse (r,), each NaN at the start, where no batch was met."""
    batch = plan.batch_of(rows.step)
    targets = len(factors)
    own, so_far = plan.rows_of(batch), plan.rows_so_far(batch)
    batch_sum, batch_penalty = (rows.batch_squares @ factors).T
    epoch_sum, epoch_penalty = (rows.epoch_squares @ factors).T
    penalty = _mean_over_rows(plan, own, so_far, batch_penalty, epoch_penalty)
    mean_square = epoch_sum / (so_far * targets)
    if loss == "mse":
        return batch_sum / (own * targets) + batch_penalty, mean_square + penalty, np.sqrt(mean_square)
    sums = np.where(batch == 0, np.nan, batch_sum)
    mean_sum = _mean_over_rows(plan, own, so_far, batch_sum, epoch_sum)
    return sums + batch_penalty, mean_sum + penalty, np.sqrt(mean_square)


def _mean_over_rows(
    plan: BatchPlan, own: IntArray, so_far: IntArray, batch: FloatArray, epoch: FloatArray
) -> FloatArray:
    """Keras's mean over an epoch of what is one number a batch, weighted by the batches' rows, from its plain sum."""
    # Only the epoch's last batch can be short, so all before it weigh alike.
    weighted: FloatArray = (plan.batch_size * (epoch - batch) + own * batch) / so_far
    return weighted
