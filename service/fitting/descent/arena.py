"""Makes the arena of a descent: all that stays the same through it."""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.engine import Arena
from service.fitting.descent.going_on import Beginning
from service.fitting.descent.kept import Kept
from service.fitting.descent.working_rows import WorkingRows


def arena_of(beginning: Beginning, optimum: FloatArray, kept: Kept | None = None) -> Arena:
    """The arena of what begins so; `optimum` (m, q) is where it leads, in its own units. `kept` is as in `Arena`."""
    problem, solver = beginning.problem, beginning.solver
    penalties = problem.penalties(solver.penalty)
    return Arena(
        rows=WorkingRows(problem, np.dtype(solver.dtype)),
        penalties=np.zeros(len(problem.model.terms)) if penalties is None else penalties,
        optimum=optimum,
        intercept=problem.model.intercept,
        plan=beginning.plan,
        rule=beginning.rule,
        loss=problem.loss,
        origin=beginning.origin,
        is_watched=solver.stop.looks_at_epochs,
        earlier=beginning.iterations,
        kept=kept or Kept(),
    )
