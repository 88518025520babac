"""Simulations of a descent, by its batches' sufficient statistics.

Batches in a fixed order are the real ones. A shuffled plan's are cut from a few random orders of the rows, and met in a
random order every epoch, in several courses beside each other.
"""

import numpy as np

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.batch_products import add_products, factors_of
from service.fitting.descent.engine import State
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.simulation import Simulation, TooLong

#: Random epochs whose batches a shuffled plan meets, and up to how many numbers of theirs there are more than one.
_MOST_EPOCHS, _USUAL_NUMBERS = 64, 1 << 17
#: Numbers of all batches' statistics: more are not held.
_MOST_NUMBERS = 1 << 24
#: By how much of the gap, or of the parameters where there is none, courses begin elsewhere.
_TRIFLE = 1e-14


def simulation_of(setting: Setting, state: State, courses: int, recorded: IntArray) -> Simulation:
    """As many courses from a state of the descent on, up to the last of the steps `recorded` after it.

    In a fixed order all courses but the first begin a trifle away from the state; shuffled, each meets the batches in
    an order of its own.

    Raises
    ------
    TooLong
        There are too many batches to hold the statistics of all.
    """
    arena, plan = setting.arena, setting.plan
    into_epoch = (plan.into_epoch + state.step) % plan.steps_per_epoch
    products, orders = _products(setting), None
    if plan.reshuffles:
        orders = _orders(plan, len(products), courses, into_epoch, int(recorded[-1]))
    factors = factors_of(plan, arena.loss, arena.shape[2])
    return Simulation(
        optimizer=setting.solver.optimizer,
        dtype=setting.solver.dtype,
        products=products,
        factors=np.tile(factors, len(products) // len(factors)),
        optimum=arena.optimum,
        penalties=arena.penalties,
        intercept=arena.intercept,
        parameters=_beginnings(setting, state, courses),
        slots=state.slots,
        average=state.average,
        earlier=arena.earlier + state.step,
        into_epoch=into_epoch,
        orders=orders,
        recorded=recorded,
    )


def _beginnings(setting: Setting, state: State, courses: int) -> WorkingArray:
    """(c, m, q)."""
    parameters = state.parameters
    beginnings = np.repeat(parameters[None], courses, axis=0)
    if not setting.plan.reshuffles:
        away = np.abs(parameters - setting.arena.optimum).max()
        size = away if away > 0.0 else np.abs(parameters).max()
        stream = np.random.Generator(np.random.PCG64(0))
        beginnings[1:] += _TRIFLE * size * stream.standard_normal(beginnings[1:].shape)
    return beginnings


def _products(setting: Setting) -> FloatArray:
    """(b, m + 1, m + q) of the real batches; shuffled, of those of some random epochs, one after the other."""
    plan, (_, m, q) = setting.plan, setting.arena.shape
    numbers = plan.steps_per_epoch * (m + 1) * (m + q)
    if numbers > _MOST_NUMBERS:
        raise TooLong
    if not plan.reshuffles:
        return setting.products
    epochs = min(max(_USUAL_NUMBERS // numbers, 1), _MOST_EPOCHS)
    key = ("shuffled products", plan.batch_size, plan.steps_per_epoch, setting.solver.dtype)
    return setting.kept.once(key, lambda: _drawn_products(setting, epochs))


def _drawn_products(setting: Setting, epochs: int) -> FloatArray:
    arena, plan, (_, m, q) = setting.arena, setting.plan, setting.arena.shape
    columns = np.concatenate([arena.design, arena.targets], axis=1).T.astype(np.float64)
    columns[m:] -= arena.optimum.T @ columns[:m]
    stream = np.random.Generator(np.random.PCG64(0))
    products = np.zeros((epochs, plan.steps_per_epoch, m + 1, m + q))
    whole = min(plan.rows // plan.batch_size, plan.steps_per_epoch)
    for epoch in products:
        order = stream.permutation(plan.rows)
        add_products(columns[:, order[: whole * plan.batch_size]], epoch[:whole])
        if whole < plan.steps_per_epoch:
            add_products(columns[:, order[whole * plan.batch_size :]], epoch[whole:])
    return products.reshape(-1, m + 1, m + q)


def _orders(plan: BatchPlan, batches: int, courses: int, into_epoch: int, steps: int) -> IntArray:
    """(c, s) for each epoch all batches of one of those that were drawn, in random order; a short one stays last."""
    per_epoch, stream = plan.steps_per_epoch, np.random.Generator(np.random.PCG64(plan.seed))
    epochs = -(-(into_epoch + steps) // per_epoch)
    drawn = stream.integers(batches // per_epoch, size=(courses * epochs, 1)) * per_epoch
    places = np.tile(np.arange(per_epoch), (courses * epochs, 1))
    whole = min(plan.rows // plan.batch_size, per_epoch)
    places[:, :whole] = stream.permuted(places[:, :whole], axis=1)
    return (drawn + places).reshape(courses, -1)[:, into_epoch : into_epoch + steps]
