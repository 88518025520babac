"""Which engine takes the steps of a backend. Numba and TensorFlow are imported here and only when they are needed.

The choice hangs on the problem, never on how many epochs are asked for, so that a descent in two parts is computed as
one is; but for lengths that only a closed form can reach.
"""

from service.fitting.descent.closed_form import ClosedFormEngine, is_affine
from service.fitting.descent.engine import Arena, Engine
from service.fitting.solver import Backend

#: Steps beyond which a closed form is worth more than it costs to prepare.
_MOST_TAKEN = 1 << 28
#: Numbers of all states of an epoch, and products of all rows' numbers, up to which a closed form is the quickest way:
#: it takes a few milliseconds to prepare, and as much again for every batch if many epochs are recorded.
_FEW_STATES, _FEW_PRODUCTS = 64, 1 << 20
#: The same where only a closed form can do it, and a second is not much; and the numbers of a state.
_MANY_STATES, _MANY_PRODUCTS, _LARGEST_STATE = 1 << 16, 1 << 28, 64
#: Statistics as large as that are no matter; larger ones may be a share of the data. Both in numbers.
_SMALL_STATISTICS, _SHARE_OF_DATA = 1 << 17, 0.4
#: Up to so many times a batch's rows, a step by statistics of so many parameters was quicker than one by rows: from 1.3
#: times as quick at the bound to 50 times.
_MOST_PARAMETERS_A_ROW = 4


def engine_for(backend: Backend, arena: Arena) -> tuple[Engine, int]:
    """The engine, and the most steps it should be asked for at once."""
    if backend == "tensorflow":
        return _tensorflow_engine(arena)
    if (closed := closed_form(arena)) is not None:
        return closed
    if _suits_statistics(arena):
        from service.fitting.descent.numpy_statistics import NumpyStatisticsEngine

        statistics = NumpyStatisticsEngine(arena)
        if statistics.is_exact_enough:
            return statistics, statistics.longest_block
    from service.fitting.descent.numpy_engine import NumpyRowsEngine

    rows = NumpyRowsEngine(arena)
    return rows, rows.longest_block


def closed_form(arena: Arena) -> tuple[Engine, int] | None:
    """The same if it is to be a closed form, for which nothing is imported; else None. Made once for an arena."""
    if not _suits_closed_form(arena):
        return None
    engine = arena.engines.once("closed form", lambda: ClosedFormEngine(arena))
    return (engine, engine.longest_block) if engine.is_in_range else None


def _suits_closed_form(arena: Arena) -> bool:
    if not is_affine(arena.rule) or arena.plan.reshuffles or arena.is_watched:
        return False
    (n, m, q), plan = arena.shape, arena.plan
    state = m if arena.rule.slots == 0 else 2 * m
    states, products = plan.steps_per_epoch * state, n * m * (m + q)
    if states <= _FEW_STATES and products <= _FEW_PRODUCTS:
        return True
    return (
        plan.begun + plan.total_steps > _MOST_TAKEN
        and state <= _LARGEST_STATE
        and states <= _MANY_STATES
        and products <= _MANY_PRODUCTS
    )


def _suits_statistics(arena: Arena) -> bool:
    (n, m, q), plan = arena.shape, arena.plan
    if plan.reshuffles or m > _MOST_PARAMETERS_A_ROW * plan.batch_size:
        return False
    data = n * (m - int(arena.intercept) + q)
    return plan.steps_per_epoch * (m + 1) * (m + q) <= max(_SMALL_STATISTICS, _SHARE_OF_DATA * data)


def _tensorflow_engine(arena: Arena) -> tuple[Engine, int]:
    from service.fitting.descent.tensorflow_engine import TensorflowEngine

    engine = TensorflowEngine(arena)
    return engine, engine.longest_block
