"""Arenas for tests that drive engines without the loop."""

import numpy as np

from service.fitting.descent.arena import arena_of
from service.fitting.descent.engine import Arena, Block, Engine, State
from service.fitting.descent.going_on import begin
from service.fitting.descent.standing import Standing
from service.fitting.problem import Problem
from service.fitting.reference.compiled import COMPILED
from service.fitting.reference.least_squares import least_squares
from service.fitting.solver import Descent


def arena_for(problem: Problem, descent: Descent, ended: Standing | None = None) -> tuple[Arena, State]:
    """The arena of a descent, and its state at step 0."""
    beginning = begin(problem, descent, ended)
    optimum = least_squares(problem.scaled_design(descent.penalty), problem.scaled_y, COMPILED)
    return arena_of(beginning, optimum.parameters), beginning.state


def every_step(engine: Engine, state: State, count: int) -> Block:
    """`count` steps at once, all of them recorded."""
    return engine.advance(state, count, None, np.arange(state.step + 1, state.step + count + 1))
