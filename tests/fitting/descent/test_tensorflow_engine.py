"""That the TensorFlow engine compiles once for a shape."""

from service.fitting.descent import tensorflow_engine
from service.fitting.descent.optimizers import Sgd
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem, solve


def test_a_second_fit_of_the_same_shape_traces_nothing() -> None:
    tensorflow_engine._compile.cache_clear()
    descent = Descent(backend="tensorflow", optimizer=Sgd(0.01), epochs=50, batch_size=5)
    solve(random_problem(1), descent)
    again = Descent(backend="tensorflow", optimizer=Sgd(0.02, 0.5), epochs=50, batch_size=5, seed=9)
    solve(random_problem(2), again)
    programs = tensorflow_engine._compile.cache_info()
    assert (programs.misses, programs.hits) == (1, 1)


def test_blocks_of_any_length_share_one_trace() -> None:
    tensorflow_engine._compile.cache_clear()
    problem = random_problem(1)
    solve(problem, Descent(backend="tensorflow", epochs=20_000, batch_size=5))
    program = tensorflow_engine._Program(0, (False,), True, 23, 5, 5, False)
    assert tensorflow_engine._compile(program).experimental_get_tracing_count() == 1
