"""What a fit would have come to by a mistake in the shapes: predictions (n, 1) less targets (n,) are (n, n).

A batch's loss is then the mean over all pairs of its rows of (p_j - y_i)^2, which is

    mean_j (p_j - m)^2 + mean_i (y_i - m)^2,    m = mean_i y_i,

(where the loss is a sum, the sums, and those as often as the batch has rows). So its gradient is that of the same batch
with every target replaced by their mean: the steps of the mistake are those of another problem, and worked out like
any. Row weights belong to the predictions' rows, as Keras has it.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.data import Dataset
from service.fitting.descent.account import Account
from service.fitting.descent.batch_products import factors_of
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.setting import Setting
from service.fitting.descent.standing import Origin
from service.fitting.descent.start import Zeros
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import cause
from service.fitting.diagnosis.end import End
from service.fitting.diagnosis.outlook import outlook
from service.fitting.diagnosis.simulation import Simulate, Simulation, TooLong
from service.fitting.exact import references
from service.fitting.model import INTERCEPT
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling

#: Of a shuffled plan, where every step has a batch of its own: numbers of all their products, what goes into them, and
#: rows of all batches.
_MOST_NUMBERS, _MOST_PRODUCTS, _MOST_ROWS = 1 << 22, 1 << 28, 1 << 22


def shape_mistake(setting: Setting, end: End, account: Account, simulate: Simulate) -> Cause:
    """`target_shape_broadcast`, after as many steps as were taken; for a single target."""
    try:
        scaled = mistaken_end(setting, end.steps, simulate)
    except TooLong:
        terms = setting.problem.model.terms
        unknown: dict[str, float | None] = dict.fromkeys(("loss", "printed_loss", *map(_named, terms)))
        return cause("target_shape_broadcast", words.broadcast_not_computed(), unknown)
    mistaken = setting.problem.units.to_user(scaled)
    numbers = {
        "loss": account.loss_of(scaled),
        "printed_loss": _printed_loss(setting, scaled),
        **{_named(term): float(value) for term, value in zip(setting.problem.model.terms, mistaken[:, 0], strict=True)},
    }
    return cause("target_shape_broadcast", _message(setting, mistaken, end.estimate), numbers)


def mistaken_end(setting: Setting, steps: int, simulate: Simulate) -> FloatArray:
    """(m, 1) in descent's units, after so many steps from the setting's beginning.

    Raises
    ------
    TooLong
        Nobody can take the steps, or not in time.
    """
    if setting.plan.reshuffles:
        return _shuffled_end(setting, steps, simulate)
    found = outlook(_with_means(setting, steps), simulate)
    if found.steps < steps and found.is_stable is not False:
        raise TooLong
    return found.end


def _named(term: str) -> str:
    return f"with the mistake: {term}"


def _message(setting: Setting, mistaken: FloatArray, estimate: FloatArray) -> str:
    if setting.plan.batch_size == 1:
        return words.broadcast_of_one_row()
    terms = setting.problem.model.terms
    shown = sorted(range(min(len(terms), 2)), key=lambda j: terms[j] == INTERCEPT)
    return words.target_shape_broadcast([(terms[j], float(mistaken[j, 0]), float(estimate[j, 0])) for j in shown])


# Batches in order: another problem.


def _with_means(setting: Setting, steps: int) -> Setting:
    """The setting of the descent that the mistake makes of this one, in the same units."""
    problem, beginning = _problem_of_means(setting), setting.beginning
    origin = Origin(0, beginning.state.parameters, beginning.state.slots)
    plan = replace(beginning.plan, total_steps=steps)
    solver = replace(setting.solver, start=Zeros())
    made = Setting.of(problem, solver, references(problem, solver.penalty))
    return replace(made, beginning=replace(beginning, problem=problem, origin=origin, plan=plan))


def _problem_of_means(setting: Setting) -> Problem:
    """Each batch's targets replaced by their mean, in descent's units; weighted by its rows where the loss is a sum."""
    problem, plan = setting.problem, setting.plan
    batch = np.minimum(np.arange(plan.rows) // plan.batch_size, -(-plan.rows // plan.batch_size) - 1)
    sizes = np.bincount(batch)
    means = np.bincount(batch, problem.scaled_y[:, 0]) / sizes
    [target], weights = problem.model.targets, problem.model.weights
    columns = {name: problem.dataset.columns((name,))[:, 0] for name in problem.dataset.names}
    columns[target] = means[batch]
    if problem.loss == "sum_squares":
        weights = weights or _free_name(columns)
        columns[weights] = columns.get(weights, np.ones(plan.rows)) * sizes[batch]
    dataset = Dataset(tuple(columns), np.column_stack(list(columns.values())))
    model = replace(problem.model, weights=weights)
    return Problem(dataset, model, Scaling(problem.scaling.features, "none"), problem.loss)


def _free_name(columns: Mapping[str, FloatArray]) -> str:
    name = "rows of the batch"
    while name in columns:
        name += "'"
    return name


# Shuffled: every step has a batch of its own.


def _shuffled_end(setting: Setting, steps: int, simulate: Simulate) -> FloatArray:
    beginning, arena = setting.beginning, setting.arena
    _, m, q = arena.shape
    rows = steps * setting.plan.batch_size
    if steps * (m + 1) * (m + q) > _MOST_NUMBERS or rows * m * (m + q) > _MOST_PRODUCTS or rows > _MOST_ROWS:
        raise TooLong
    orders = beginning.row_orders().for_steps(0, steps)
    assert orders is not None
    factors = np.tile(factors_of(arena.plan, arena.loss, q), len(orders))[arena.plan.into_epoch :][:steps]
    products, sizes = _products_of_means(setting, orders, steps)
    simulated = simulate(
        Simulation(
            optimizer=setting.solver.optimizer,
            dtype=setting.solver.dtype,
            products=products,
            factors=factors * sizes if arena.loss == "sum_squares" else factors,
            optimum=arena.optimum,
            penalties=arena.penalties,
            intercept=arena.intercept,
            parameters=beginning.state.parameters[None],
            slots=beginning.state.slots,
            average=beginning.state.average,
            earlier=arena.earlier,
            into_epoch=0,
            orders=None,
            recorded=np.array([steps]),
        )
    )
    return simulated.parameters[0, -1] if simulated.is_finite else np.full((m, q), np.nan)


def _products_of_means(setting: Setting, orders: IntArray, steps: int) -> tuple[FloatArray, IntArray]:
    """(s, m + 1, m + 1) of the batches of all steps, and how many rows (s,) each has."""
    problem, arena, plan = setting.problem, setting.arena, setting.plan
    design, optimum = arena.design.astype(np.float64), arena.optimum
    roots = np.ones(plan.rows) if problem.weights is None else np.sqrt(problem.weights)
    m = design.shape[1]
    products, sizes = np.zeros((steps, m + 1, m + 1)), np.zeros(steps, dtype=np.int64)
    for step, rows in zip(range(steps), _batches(plan, orders), strict=False):
        part, mean = design[rows], problem.scaled_y[rows, 0].mean()
        residuals = roots[rows, None] * mean - part @ optimum
        products[step, :m] = part.T @ np.hstack([part, residuals])
        products[step, m, m:] = np.square(residuals).sum(axis=0)
        sizes[step] = len(rows)
    return products, sizes


def _batches(plan: BatchPlan, orders: IntArray) -> list[IntArray]:
    """The rows of each step's batch, from the first step on."""
    bounds = range(0, plan.steps_per_epoch * plan.batch_size, plan.batch_size)
    return [order[first : first + plan.batch_size] for order in orders for first in bounds][plan.into_epoch :]


def _printed_loss(setting: Setting, scaled: FloatArray) -> float:
    """The loss with the mistake, all rows being one batch, in the user's units."""
    problem, units = setting.problem, setting.problem.units
    fitted = problem.x @ units.to_user(scaled)[int(problem.model.intercept) :]
    if problem.model.intercept:
        fitted = fitted + units.to_user(scaled)[:1]
    mean = problem.y.mean()
    squares = np.square(fitted[:, 0] - mean) + np.square(problem.y - mean).mean()
    total = float((squares if problem.weights is None else problem.weights * squares).sum())
    rows = problem.dataset.rows
    penalty = float(setting.arena.penalties @ np.square(scaled[:, 0])) * float(units.targets.spread[0]) ** 2
    return (total / rows if problem.loss == "mse" else total * rows) + penalty
