"""Pools of threads, in processes of their own: a library is loaded once."""

import subprocess
import sys

import pytest

from service.fitting.threads import threads
from service.jobs.cores import available_cores

LOADED_BEFORE = "import numpy, sklearn.linear_model, service.fitting.threads as t; t.use_threads({count})"
LOADED_AFTER = "import service.fitting.threads as t; t.use_threads({count}); import numpy, sklearn.linear_model"


def _printed(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


# More than there are cores, OpenBLAS does not make when it is loaded.
@pytest.mark.parametrize("count", sorted({1, available_cores()}))
@pytest.mark.parametrize("program", [LOADED_BEFORE, LOADED_AFTER], ids=["loaded before", "loaded after"])
def test_every_pool_is_as_large_as_was_asked(program: str, count: int) -> None:
    show = "; print(t.threads(), len(t.pools()) > 1, set(t.pools().values()))"
    assert _printed(program.format(count=count) + show) == f"{count} True {{{count}}}"


def test_numba_and_tensorflow_are_told() -> None:
    told = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    program = "import os, service.fitting.threads as t; t.use_threads(3); import numba; "
    program += f"print(numba.config.NUMBA_NUM_THREADS, *(os.environ[name] for name in {told}))"
    assert _printed(program) == "3 3 3"


def test_a_process_computes_with_one_thread_until_it_is_told() -> None:
    assert threads() == 1


def test_it_needs_no_library_itself() -> None:
    program = "import sys, service.fitting.threads; print({'numpy', 'numba', 'scipy', 'sklearn'} & set(sys.modules))"
    assert _printed(program) == "set()"
