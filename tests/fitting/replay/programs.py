"""Fits to be done again by programs, and a process that runs many programs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.fitting.problem import Problem
from service.fitting.replay.replayed import Replayed, Target
from service.fitting.replay.script import script
from service.fitting.solver import Solver
from service.fitting.task import FitTask
from tests.fitting.descent.problems import random_problem, solve

_RUN_ALL = """
import json, runpy, sys
for path in sys.argv[1:]:
    print(json.dumps({"program": path}))
    runpy.run_path(path, run_name="__main__")
"""


def replayed(problem: Problem, solver: Solver, first: Solver | None = None) -> Replayed:
    """The fit, as it came out; with a `first` one it goes on from where that ended."""
    ended = None if first is None else solve(problem, first).standing
    report = solve(problem, solver, ended=ended).report
    return Replayed("0-1-2", _task(problem, solver), problem.dataset, report, ended)


def _task(problem: Problem, solver: Solver) -> FitTask:
    return FitTask(problem.model, solver, problem.scaling, problem.loss)


def estimates(fit: Replayed) -> NDArray[np.float64]:
    """What the service answered, by target, then by term."""
    return np.array([coefficient.estimate for coefficient in fit.report.coefficients])


def run_all(folder: Path, fits: Mapping[str, Replayed], target: Target) -> dict[str, list[dict[str, Any]]]:
    """What each fit's program prints. One process runs them all, so that Keras is imported once."""
    paths = {name: folder / f"{number}.py" for number, name in enumerate(fits)}
    for name, path in paths.items():
        path.write_text(script(fits[name], target), encoding="utf-8")
    command = [sys.executable, "-I", "-c", _RUN_ALL, *map(str, paths.values())]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {str(path): name for name, path in paths.items()}
    printed: dict[str, list[dict[str, Any]]] = {}
    for line in map(json.loads, done.stdout.splitlines()):
        if "program" in line:
            current = printed.setdefault(names[line["program"]], [])
        else:
            current.append(line)
    return printed


__all__ = ["estimates", "random_problem", "replayed", "run_all"]
