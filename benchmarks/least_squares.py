"""The exact fit with all of its inference, against what others do for the same data, most of it without inference.

Ours is everything a fit answers: coefficients refined in doubled precision, their certificate, standard errors, tests,
intervals, summary, condition number. scikit-learn gives coefficients; statsmodels fits and is then asked for the same
statistics; A'A alone is what no method that looks at all pairs of columns can do without. All have the same threads.

The memory figure is data over the most that process needed while it fitted them, measured by Linux.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression

from benchmarks.figure import Figure, seconds
from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.exact import solve_exactly
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.reference.compiled import COMPILED
from service.fitting.reference.kernels import PLAIN
from service.fitting.solver import Exact
from service.fitting.threads import use_threads
from service.jobs.cores import available_cores

CORE_SECONDS = 0.2e-3
MOST_MEMORY = 1.3
#: Rows and columns, and how many times faster than scikit-learn and statsmodels it shall be.
SIZES = ((50, 1, 1.0, 1.0), (100_000, 100, 5.0, 15.0), (1_000_000, 10, 5.0, 15.0), (10_000, 500, 5.0, 15.0))


def figures() -> Iterator[Figure]:
    """See the module."""
    for rows, columns, against_scikit_learn, against_statsmodels in SIZES:
        name = f"exact_with_inference_{rows}x{columns}"
        small = rows < 1000
        repeats = 300 if small else 5
        problem = _problem(rows, columns)
        ours = seconds(_ours(problem, small), repeats)
        x, y = np.ascontiguousarray(problem.x), problem.y[:, 0].copy()
        yield Figure(name, seconds(lambda x=x, y=y: LinearRegression().fit(x, y), repeats) / ours,  # type: ignore[misc]
                     against_scikit_learn, "scikit_learn_linear_regression")  # fmt: skip
        yield Figure(name, seconds(lambda x=x, y=y: _statsmodels(x, y), min(repeats, 20) // 2) / ours,  # type: ignore[misc]
                     against_statsmodels, "statsmodels_ols_with_inference")  # fmt: skip
        if small:
            yield Figure(name, CORE_SECONDS / ours, 1.0, "0.2_milliseconds")
        else:
            a = problem.x
            yield Figure(name, seconds(lambda a=a: a.T @ a, repeats) / ours, 1 / 2.5, "gram_matrix_alone")  # type: ignore[misc]
            yield Figure(name + "_memory", 1.0 / _memory(rows, columns), 1.0 / MOST_MEMORY, "data")


def _problem(rows: int, columns: int) -> Problem:
    stream = np.random.default_rng(0)
    x = stream.normal(size=(rows, columns))
    y = x.sum(axis=1) + stream.normal(size=rows)
    dataset = Dataset.from_arrays(x, y)
    return Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))


def _ours(problem: Problem, small: bool) -> Callable[[], object]:
    """A new problem each time: nothing may be kept from the last."""
    kernels = PLAIN if small else COMPILED
    dataset, model = problem.dataset, problem.model
    return lambda: solve_exactly(Problem(dataset, model), Exact(), kernels=kernels)


def _statsmodels(x: FloatArray, y: FloatArray) -> tuple[object, ...]:
    fitted = sm.OLS(y, np.column_stack([np.ones(len(x)), x])).fit()
    return (
        fitted.params, fitted.bse, fitted.tvalues, fitted.pvalues, fitted.conf_int(), fitted.rsquared,
        fitted.rsquared_adj, fitted.fvalue, fitted.f_pvalue, fitted.llf, fitted.aic, fitted.bic,
        fitted.condition_number,
    )  # fmt: skip


def _memory(rows: int, columns: int) -> float:
    """The most resident memory during a fit, less what was resident before it and was not data, over the data."""
    command = [sys.executable, "-m", "benchmarks.least_squares", str(rows), str(columns)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _probe(rows: int, columns: int) -> float:
    use_threads(available_cores())
    # Compilers and libraries are loaded by a fit of the same kind.
    solve_exactly(_problem(3000, columns), Exact(), kernels=COMPILED)
    problem = _problem(rows, columns)
    data = float(problem.dataset.values.nbytes)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    solve_exactly(problem, Exact(), kernels=COMPILED)
    return (data + _status("VmHWM") - before) / data


def _status(field: str) -> float:
    """Bytes, of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024.0 * next(float(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    print(_probe(int(sys.argv[1]), int(sys.argv[2])))
