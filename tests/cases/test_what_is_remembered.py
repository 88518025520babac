"""The collinear case from many starts, through HTTP: what descent forgets, what it keeps, and that the answer says so.

The published fits of one model on one dataset differed by their start; that they agreed in x1 + x2 was there to see.
"""

from itertools import combinations
from typing import Any

import pytest

from service.datasets.cases import case
from service.demo import BACKENDS
from tests.cases.asking import fitted

EPOCHS, RATE = 1000, 0.01
#: The start's own x1 - x2 in descent's units, which here are the user's; that of a random one is read off its row 0.
STARTS: dict[str, dict[str, Any]] = {
    **{f"glorot {seed}": {"start": {"kind": "glorot_uniform"}, "seed": seed} for seed in range(5)},
    "zeros": {"start": {"kind": "zeros"}},
    "values": {"start": {"kind": "values", "coefficients": [-0.3, 1.2], "intercept": 0.4}},
    "normal": {"start": {"kind": "normal", "stddev": 0.5}, "seed": 6},
}


def _descended(address: str, backend: str, start: str) -> dict[str, Any]:
    solver = {"backend": backend, "optimizer": {"kind": "sgd", "learning_rate": RATE}, "epochs": EPOCHS}
    body = {"data": {"case": "collinear"}, "solver": solver | STARTS[start], "record": {"limit": 2}}
    result: dict[str, Any] = fitted(address, body)["result"]
    return result


def _ends(result: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    columns = result["trajectory"]["columns"]["coefficients"]["y"]
    first, last = ({term: column[row] for term, column in columns.items()} for row in (0, -1))
    return first, last


@pytest.fixture(scope="module")
def eigenvalue() -> float:
    """The least one of the Hessian, computed from the recipe independently."""
    found = case("collinear")
    assert found is not None
    return float(min(found.computed["hessian_eigenvalues"]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("start", STARTS)
def test_the_sum_is_right_and_the_difference_stays(address: str, backend: str, start: str, eigenvalue: float) -> None:
    result = _descended(address, backend, start)
    first, last = _ends(result)
    assert abs(last["x1"] + last["x2"] - 1.0) <= 1e-9
    started, ended = (end["x1"] - end["x2"] for end in (first, last))
    assert abs(ended - started) <= 0.01 * abs(started) + 1e-12
    # And by exactly as much as a forecast says.
    assert ended == pytest.approx(started * (1.0 - RATE * eigenvalue) ** EPOCHS, rel=1e-9, abs=1e-12)
    assert result["engine"] == ("tensorflow_xla" if backend == "tensorflow" else "numpy_statistics")


@pytest.mark.parametrize("backend", BACKENDS)
def test_starts_that_differ_end_apart_and_are_told_why(address: str, backend: str, eigenvalue: float) -> None:
    seeds = [_descended(address, backend, f"glorot {seed}") for seed in range(5)]
    ends = [_ends(result)[1] for result in seeds]
    assert min(abs(one["x1"] - other["x1"]) for one, other in combinations(ends, 2)) > 0.01
    assert max(abs(one["x1"] + one["x2"] - other["x1"] - other["x2"]) for one, other in combinations(ends, 2)) < 1e-9
    left = (1.0 - RATE * eigenvalue) ** EPOCHS
    for result, end in zip(seeds, ends, strict=True):
        [kept] = result["remembered"]
        assert kept["name"] == "x1 - x2"
        assert kept["terms"] == pytest.approx({"(intercept)": 0.0, "x1": 0.5**0.5, "x2": -(0.5**0.5)}, abs=1e-9)
        assert kept["eigenvalue"] == pytest.approx(eigenvalue, rel=1e-9)
        assert kept["left"] == pytest.approx(left, rel=1e-9)
        assert kept["gap_at_end"] == pytest.approx(abs(end["x1"] - end["x2"]) * 0.5**0.5, rel=1e-9)
        said = f"Along x1 - x2 the fit is still where it started: {100 * left:.4g} % of that gap is left."
        assert said in result["outcome"]["message"]


def test_nothing_is_kept_of_a_start_that_had_no_such_gap(address: str) -> None:
    result = _descended(address, "numpy", "zeros")
    assert result["remembered"] == []
    assert "Along" not in result["outcome"]["message"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_nothing_is_determined_the_start_is_never_forgotten(address: str, backend: str) -> None:
    """One sample: three of four directions are flat for each of three targets, and all of them are remembered."""
    found = case("single-sample")
    assert found is not None
    [request] = found.requests
    result = fitted(address, request.body | {"solver": request.body["solver"] | {"backend": backend}})["result"]
    assert result["reference"]["rank"] == 1
    assert [kept["eigenvalue"] for kept in result["remembered"]] == [0.0] * 3
    assert [kept["left"] for kept in result["remembered"]] == pytest.approx([1.0] * 3, rel=1e-12)
    assert "100 % of that gap is left, and at least half along 2 other directions." in result["outcome"]["message"]
