"""Takes the steps of a simulation, compiled by Numba: for processes that have it."""

from collections.abc import Iterator

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.engine import Block, State
from service.fitting.descent.numpy_statistics import IN_TURN, StatisticsSteps
from service.fitting.descent.rules import Rule, rule_of
from service.fitting.diagnosis.simulation import Simulated, Simulation


# What leaves float64 ends a course; the loop sees it.
@np.errstate(all="ignore")
def simulate(simulation: Simulation) -> Simulated:
    """Take all steps, but for those after a number that is not finite."""
    rule = rule_of(simulation.optimizer, np.dtype(simulation.dtype))
    steps = _steps(simulation, rule)
    courses = [_course(simulation, rule, steps, number) for number in range(len(simulation.parameters))]
    reached = min(len(parameters) for parameters in courses)
    return Simulated(
        steps=simulation.recorded[:reached],
        parameters=np.stack([parameters[:reached] for parameters in courses]),
        is_finite=reached == len(simulation.recorded),
    )


def _steps(simulation: Simulation, rule: Rule) -> StatisticsSteps:
    # Numba would compile everything anew for arrays that cannot be written to, as those are that came over a line.
    products, factors, optimum, penalties = (
        np.require(array, requirements=("C", "W"))
        for array in (simulation.products, simulation.factors, simulation.optimum, simulation.penalties)
    )
    split = optimum.shape[1] if simulation.intercept else 0
    return StatisticsSteps(
        products, factors, rule, split, optimum, penalties, simulation.earlier, simulation.into_epoch
    )


def _course(simulation: Simulation, rule: Rule, steps: StatisticsSteps, number: int) -> FloatArray:
    """(r, m, q), or as many as are finite."""
    state = State.at_start(np.array(simulation.parameters[number]), rule)
    state.slots[:], state.average[:] = simulation.slots, simulation.average
    order = None if simulation.orders is None else simulation.orders[number]
    parts = [block.rows.parameters for block in _blocks(steps, state, simulation.recorded, order)]
    return np.concatenate(parts).astype(np.float64, copy=False)


def _blocks(steps: StatisticsSteps, state: State, recorded: IntArray, order: IntArray | None) -> Iterator[Block]:
    last, finite, means = int(recorded[-1]), True, steps.rule.averaging is not None
    while finite and state.step < last:
        first, end = state.step, min(state.step + steps.longest_block, last)
        asked = np.array(recorded[(first < recorded) & (recorded <= end)])
        batches = IN_TURN if order is None else np.array(order[first:end])
        block = steps.after(state, end - first, asked, batches, means=means)
        state, finite = block.state, block.finite
        yield block
