"""That `make bench` runs every program there is, and prints what it promises. How fast we are is not tested."""

from pathlib import Path

import benchmarks
from benchmarks.__main__ import LONG_PROGRAMS, PROGRAMS
from benchmarks.figure import Figure, median_seconds, seconds

NOT_PROGRAMS = {"__init__", "__main__", "figure", "bare_route", "bare_queue", "clients", "queue_model"}


def test_a_figure_is_one_line() -> None:
    assert str(Figure("steps", 1234.5678, 300.0, "keras_fit")) == "steps 1235 300 keras_fit"


def test_every_program_is_run() -> None:
    there = {path.stem for path in Path(benchmarks.__file__).parent.glob("*.py")}
    assert there - NOT_PROGRAMS == {*PROGRAMS, *LONG_PROGRAMS}


def test_work_is_warmed_up_and_repeated() -> None:
    calls: list[int] = []
    assert seconds(lambda: calls.append(1), repeats=3) >= 0.0
    assert median_seconds(lambda: calls.append(2), repeats=3) >= 0.0
    assert calls == [1] * 4 + [2] * 4
