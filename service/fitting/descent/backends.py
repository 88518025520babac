"""Which engine a backend stands for. TensorFlow is imported here and only when asked for: it takes seconds."""

from service.fitting.descent.engine import Arena, Engine
from service.fitting.solver import Backend

_MOST_NUMPY_STEPS = 1 << 24
_MOST_TENSORFLOW_STEPS = 1 << 14
#: Numbers in the buffer a TensorFlow block records into.
_MOST_BUFFERED = 1 << 22


def engine_for(backend: Backend, arena: Arena) -> tuple[Engine, int]:
    """The engine, and the most steps it should be asked for at once."""
    if backend == "numpy":
        from service.fitting.descent.numpy_engine import NumpyRowsEngine

        return NumpyRowsEngine(arena), _MOST_NUMPY_STEPS
    from service.fitting.descent.tensorflow_engine import TensorflowEngine

    width = arena.design.shape[1] * arena.targets.shape[1]
    plan = arena.plan
    longest = min(_MOST_TENSORFLOW_STEPS, _MOST_BUFFERED // width, plan.most_ordered_steps, plan.total_steps)
    return TensorflowEngine(arena, max(longest, 1)), max(longest, 1)
