"""One verb: ``script(replayed, target) -> str``, a program that prints the coefficients of a fit."""

from service.fitting.replay.keras_descent import keras_descent
from service.fitting.replay.numpy_descent import numpy_descent
from service.fitting.replay.numpy_exact import numpy_exact
from service.fitting.replay.replayed import Replayed, Target
from service.fitting.solver import Exact, Solver


def targets_of(solver: Solver) -> tuple[Target, ...]:
    """What there is a program for: an exact fit takes no steps, and Keras does nothing else."""
    return ("numpy",) if isinstance(solver, Exact) else ("numpy", "keras")


def script(replayed: Replayed, target: Target) -> str:
    """The text of the program, for one of `targets_of` the fit's solver."""
    solver = replayed.task.solver
    if isinstance(solver, Exact):
        return numpy_exact(replayed, solver)
    return numpy_descent(replayed, solver) if target == "numpy" else keras_descent(replayed, solver)
