"""What programs are made of: nothing of a user's but literals, nothing but what they say they need."""

import ast
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam
from service.fitting.model import resolve_model
from service.fitting.problem import Problem
from service.fitting.replay import literals, program
from service.fitting.replay.replayed import Replayed, Target
from service.fitting.replay.script import script, targets_of
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Solver
from tests.fitting.replay.programs import estimates, random_problem, replayed

SOLVERS: tuple[Solver, ...] = (Descent(optimizer=Adam(0.1), epochs=3, batch_size=5, shuffle=True), Exact())
KINDS: list[tuple[Solver, Target]] = [(solver, target) for solver in SOLVERS for target in targets_of(solver)]
#: Would be code, were they pasted.
HOSTILE = ('"""', "'; import os; os.abort()", "\\", '\\"', "{x}", "é漢😀", '"]; raise SystemExit(7) #')


def _hostile_problem() -> Problem:
    names = (*HOSTILE, "y")
    dataset = Dataset(names, np.random.default_rng(4).normal(size=(12, len(names))))
    return Problem(dataset, resolve_model(names, HOSTILE[:-1], ("y",), weights=None, intercept=True))


def _run(text: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As anybody would run it, with nothing of ours in reach."""
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-I", "-W", "error", str(path), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _found(done: "subprocess.CompletedProcess[str]") -> list[float]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["estimate"] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("solver", "target"), KINDS, ids=[f"{solver.kind} {target}" for solver, target in KINDS])
@pytest.mark.parametrize("inline", [True, False])
def test_a_program_imports_nothing_of_ours(
    solver: Solver, target: Target, inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "MOST_INLINE_NUMBERS", 10**5 if inline else 10)
    tree = ast.parse(script(replayed(random_problem(5), solver), target))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    allowed = {"json", "itertools", "numpy", *(() if inline else ("csv", "sys")), *(("keras",) * (target == "keras"))}
    assert {"json", "numpy"} <= imported <= allowed


@pytest.mark.parametrize(("solver", "target"), KINDS, ids=[f"{solver.kind} {target}" for solver, target in KINDS])
def test_a_program_is_in_order(solver: Solver, target: Target, tmp_path: Path) -> None:
    """No name is missing or superfluous, no line too long to be read; by the linter's own word."""
    text = script(replayed(random_problem(5, weighted=True, scaling=Scaling("standard")), solver), target)
    path = tmp_path / "program.py"
    path.write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "E,F,W",
        "--line-length",
        "120",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("solver", SOLVERS, ids=["descent", "exact"])
def test_hostile_names_are_only_names(solver: Solver, tmp_path: Path) -> None:
    fit = replayed(_hostile_problem(), solver)
    done = _run(script(fit, "numpy"), tmp_path)
    np.testing.assert_allclose(_found(done), estimates(fit), rtol=1e-10)
    assert [json.loads(line)["term"] for line in done.stdout.splitlines()] == ["(intercept)", *HOSTILE[:-1]]


def test_names_stand_as_strings_everywhere() -> None:
    text = script(replayed(_hostile_problem(), SOLVERS[0]), "keras")
    strings = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    assert set(HOSTILE[:-1]) <= strings
    assert text.isascii()


@pytest.mark.parametrize("name", [*HOSTILE, "a\nb", "\ud800", "\0", "\u202e", ""])
def test_a_name_is_read_back_as_it_was(name: str) -> None:
    assert ast.literal_eval(literals.name(name)) == name


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, 1e300, 5e-324, -1.7976931348623157e308, 1 / 3])
def test_a_number_is_read_back_to_the_last_bit(value: float) -> None:
    assert ast.literal_eval(literals.number(value)).hex() == value.hex()


def test_numbers_that_are_not_finite_have_names() -> None:
    assert [literals.number(value) for value in (np.inf, -np.inf, np.nan)] == ["np.inf", "-np.inf", "np.nan"]


def _csv(path: Path, dataset: Dataset) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([dataset.names, *dataset.values.tolist()])


def _npz(path: Path, dataset: Dataset) -> None:
    np.savez(path, **dict(zip(dataset.names, dataset.values.T, strict=True)))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Replayed:
    """A fit whose data are too many to stand in its program."""
    monkeypatch.setattr(program, "MOST_INLINE_NUMBERS", 20)
    return replayed(random_problem(5, weighted=True), SOLVERS[0])


@pytest.mark.parametrize(("name", "write"), [("data.csv", _csv), ("data.npz", _npz)])
def test_long_data_are_read_from_a_file(
    large: Replayed, name: str, write: Callable[[Path, Dataset], None], tmp_path: Path
) -> None:
    write(tmp_path / name, large.dataset)
    done = _run(script(large, "numpy"), tmp_path, str(tmp_path / name))
    np.testing.assert_allclose(_found(done), estimates(large), rtol=1e-10)


def test_other_data_are_refused(large: Replayed, tmp_path: Path) -> None:
    text = script(large, "numpy")
    assert large.dataset.digest in text
    assert "usage" in _run(text, tmp_path).stderr
    rows = large.dataset.values
    for names, values, complaint in (
        (("x1", "x2", "other", "y", "w"), rows, "no column 'x3'"),
        (large.dataset.names, rows[:-1], "(22,), not (23,)"),
    ):
        _csv(tmp_path / "data.csv", Dataset(names, values))
        done = _run(text, tmp_path, str(tmp_path / "data.csv"))
        assert done.returncode == 1
        assert complaint in done.stderr


def test_a_hundred_thousand_numbers_stand_in_a_program() -> None:
    rows = program.MOST_INLINE_NUMBERS // 2
    for more, inline in ((0, True), (1, False)):
        dataset = Dataset(("x", "y"), np.ones((rows + more, 2)))
        problem = Problem(dataset, resolve_model(dataset.names, None, None, True))
        assert program.is_inline(replayed(problem, Exact())) is inline
