"""How many threads this process may compute with: those of every library, and those that share out a problem's rows."""

import os
from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

# Read by BLAS (OpenBLAS, MKL, Accelerate), OpenMP, Numba and TensorFlow when they are loaded.
_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

# A thread of OpenBLAS that is done spins for 2^26 ticks before it sleeps, which keeps cores from the next
# library's threads: a fit of 100 000 x 100 took twice as long. After 2^4 ticks it sleeps.
_IMPATIENCE = {"OPENBLAS_THREAD_TIMEOUT": "4"}

_count = 1


def use_threads(count: int) -> None:
    """Give every library a pool of `count` threads, those that are loaded and those that will be; remember the count.

    Numba and TensorFlow heed it only if they are not loaded yet.
    """
    global _count
    os.environ.update(dict.fromkeys(_VARIABLES, str(count)) | _IMPATIENCE)
    threadpool_limits(count)
    _count = count


def one_thread_each() -> AbstractContextManager[object]:
    """Within it every library computes in the thread that calls it: for those who share out work among threads.

    Holds for the whole process, which has one fit at a time.
    """
    limit: AbstractContextManager[object] = _libraries().limit(limits=1)
    return limit


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def threads() -> int:
    """The count last given to `use_threads`; 1 before that."""
    return _count


def pools() -> dict[str, int]:
    """Threads in the pools of BLAS and OpenMP that are loaded, by library."""
    return {str(library["prefix"]): int(library["num_threads"]) for library in threadpool_info()}
