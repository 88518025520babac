"""The tables of docs/capacity.md, held to theory where there is some."""

import re
from pathlib import Path

import pytest

from benchmarks.queue_model import wait_quantile_mmc

TEXT = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text()
ROWS = re.findall(r"^\| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \|$", TEXT.split("as an exponential**")[1], re.MULTILINE)
WITHIN = (0.1, 1.0, 10.0)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_exponential_times_need_as_many_workers_as_erlang_says(row: tuple[str, ...]) -> None:
    load, *needed = (float(cell) for cell in row)
    exact = [
        next(count for count in range(int(load) + 1, 100) if wait_quantile_mmc(load, 1.0, count, 0.99) <= within)
        for within in WITHIN
    ]
    assert needed == pytest.approx(exact, abs=1), "a simulated quantile may fall on the other side of a bound"


def test_there_are_rows() -> None:
    assert len(ROWS) == 8
