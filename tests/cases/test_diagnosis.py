"""The five questions, asked through HTTP: the answer says why, what would help, and helping helps.

Whoever asked wanted to know why their numbers were not those of least squares, and what to change. What is said is
held against what was computed from the recipes independently, and against the fits that the remedies start.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from service.datasets.cases import Case, case
from service.demo import BACKENDS
from tests.cases.asking import fitted, posted, remedied

RATE, EPOCHS = 0.01, 1000
#: The start's own x1 - x2 in descent's units, which here are the user's; that of a random one is read off its row 0.
STARTS: dict[str, dict[str, Any]] = {
    **{f"glorot {seed}": {"start": {"kind": "glorot_uniform"}, "seed": seed} for seed in range(5)},
    "zeros": {"start": {"kind": "zeros"}},
    "values": {"start": {"kind": "values", "coefficients": [-0.3, 1.2], "intercept": 0.4}},
    "normal": {"start": {"kind": "normal", "stddev": 0.5}, "seed": 6},
}


def _case(name: str) -> Case:
    found = case(name)
    assert found is not None
    return found


def _causes(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {cause["code"]: cause for cause in result["causes"]}


def _estimates(result: dict[str, Any], target: str = "y") -> dict[str, float]:
    return {c["term"]: c["estimate"] for c in result["coefficients"] if c["target"] == target}


def _gap(result: dict[str, Any]) -> float:
    return float(np.linalg.norm([c["difference"] for c in result["coefficients"]]))


# tiny-scale.


@pytest.fixture(scope="module")
def tiny(address: str) -> dict[str, Any]:
    body = _case("tiny-scale").requests[0].body
    return fitted(address, body | {"solver": body["solver"] | {"dtype": "float64"}})


def test_tiny_features_need_over_a_million_steps(tiny: dict[str, Any]) -> None:
    computed = _case("tiny-scale").computed
    causes = _causes(tiny["result"])
    needed = causes["too_few_steps"]["numbers"]["steps_needed"]
    assert needed == np.ceil(computed["steps_until_slowest_component_shrinks_to_1e_3"])
    assert "1.38 million until" in causes["too_few_steps"]["message"]
    assert causes["features_unscaled"]["terms"] == ["x"]
    smallest = tiny["result"]["directions"][0]
    assert smallest["eigenvalue"] == pytest.approx(min(computed["hessian_eigenvalues"]), rel=1e-12)
    assert smallest["share_of_excess"] == pytest.approx(1.0, abs=1e-6)


def test_the_first_remedy_of_tiny_features_is_to_scale_them(address: str, tiny: dict[str, Any]) -> None:
    first = tiny["result"]["remedies"][0]
    assert first["patch"] == {"scaling": {"features": "standard"}}
    assert "features_unscaled" in first["causes"]
    assert first["verified"]
    again = remedied(address, first)
    assert again["parent"] == tiny["id"]
    result = again["result"]
    assert _gap(result) <= first["predicted"]["gap"] * (1 + 1e-3)
    slope = _estimates(result)["x"]
    assert abs(slope - 0.8975134728988402) <= first["predicted"]["gap"] * (1 + 1e-3) + 1e-15
    assert result["causes"][0]["code"] == "agrees"


# collinear.


def _descended(address: str, backend: str, start: str, **options: Any) -> dict[str, Any]:
    solver = {"backend": backend, "optimizer": {"kind": "sgd", "learning_rate": RATE}, "epochs": EPOCHS}
    body = {"data": {"case": "collinear"}, "solver": solver | STARTS[start] | options, "record": {"limit": 2}}
    result: dict[str, Any] = fitted(address, body)["result"]
    return result


def _ends(result: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    columns = result["trajectory"]["columns"]["coefficients"]["y"]
    first, last = ({term: column[row] for term, column in columns.items()} for row in (0, -1))
    return first, last


@pytest.fixture(scope="module")
def eigenvalue() -> float:
    """The least one of the Hessian, computed from the recipe independently."""
    return float(min(_case("collinear").computed["hessian_eigenvalues"]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("start", STARTS)
def test_the_sum_is_right_and_the_difference_stays(address: str, backend: str, start: str, eigenvalue: float) -> None:
    result = _descended(address, backend, start)
    first, last = _ends(result)
    assert abs(last["x1"] + last["x2"] - 1.0) <= 1e-9
    started, ended = (end["x1"] - end["x2"] for end in (first, last))
    assert abs(ended - started) <= 0.01 * abs(started) + 1e-12
    assert ended == pytest.approx(started * (1.0 - RATE * eigenvalue) ** EPOCHS, rel=1e-9, abs=1e-12)
    assert result["engine"] == ("tensorflow_xla" if backend == "tensorflow" else "numpy_statistics")


@pytest.mark.parametrize("backend", BACKENDS)
def test_starts_that_differ_end_apart_and_are_told_why(address: str, backend: str, eigenvalue: float) -> None:
    seeds = [_descended(address, backend, f"glorot {seed}") for seed in range(5)]
    ends = [_ends(result)[1] for result in seeds]
    assert min(abs(one["x1"] - other["x1"]) for one, other in combinations(ends, 2)) > 0.01
    assert max(abs(one["x1"] + one["x2"] - other["x1"] - other["x2"]) for one, other in combinations(ends, 2)) < 1e-9
    half_life = _case("collinear").computed["half_life_of_slow_direction_steps_at_0_01"]
    for result, end in zip(seeds, ends, strict=True):
        slow = result["directions"][0]
        assert slow["name"] == "x1 - x2"
        assert slow["terms"] == pytest.approx({"(intercept)": 0.0, "x1": 0.5**0.5, "x2": -(0.5**0.5)}, abs=1e-9)
        assert slow["eigenvalue"] == pytest.approx(eigenvalue, rel=1e-9)
        assert slow["half_life_steps"] == pytest.approx(half_life, rel=1e-9)
        assert slow["gap_at_end"] == pytest.approx(abs(end["x1"] - end["x2"]) * 0.5**0.5, rel=1e-9)
        kept = _causes(result)["start_remembered"]
        assert kept["numbers"]["left"] == pytest.approx((1.0 - RATE * eigenvalue) ** EPOCHS, rel=1e-9)
        assert kept["numbers"]["gap_at_end"] == slow["gap_at_end"]
        assert kept["share"] == pytest.approx(1.0, abs=1e-6)
        assert "Along x1 - x2 the fit is still where it started" in kept["message"]
        assert _causes(result)["collinear_features"]["terms"] == ["x1", "x2"]


def test_a_start_without_a_gap_was_lucky(address: str) -> None:
    """Least squares lies at x1 = x2, and zero does too: by symmetry nothing has to move where hardly anything can."""
    result = _descended(address, "numpy", "zeros")
    causes = result["causes"]
    assert [cause["code"] for cause in causes][:2] == ["agrees", "start_remembered"]
    assert causes[1]["share"] == 0.0
    assert "no gap along x1 - x2, which halves only every 1.38 million steps" in causes[1]["message"]
    assert result["remedies"] == []


@pytest.mark.parametrize("batch_size", [64, 1024, None])
def test_collinear_features_have_a_remedy_that_reaches_seven_decimals(address: str, batch_size: int | None) -> None:
    solver = {"optimizer": {"kind": "sgd", "learning_rate": RATE}, "epochs": EPOCHS, "batch_size": batch_size}
    body = {"data": {"case": "collinear"}, "solver": solver | STARTS["glorot 0"], "record": {"limit": 2}}
    fit = fitted(address, body)
    descents = [r for r in fit["result"]["remedies"] if r["patch"].get("solver", {}).get("kind") != "exact"]
    first = descents[0]
    assert first["verified"]
    assert first["predicted"]["gap"] <= 1e-7
    estimates = _estimates(remedied(address, first)["result"])
    assert abs(estimates["x1"] - 0.5) <= 1e-7
    assert abs(estimates["x2"] - 0.5) <= 1e-7


# single-sample.


def test_one_sample_determines_one_direction(address: str) -> None:
    found = _case("single-sample")
    body = found.requests[0].body
    result = fitted(address, body)["result"]
    cause = _causes(result)["not_identified"]
    assert cause["numbers"]["rank"] == 1.0
    assert cause["numbers"]["parameters"] == 4.0
    assert cause["numbers"]["rows"] == 1.0
    assert "1 row determines 1 of 4 parameters of each target" in cause["message"]
    assert [r["patch"] for r in result["remedies"] if r["patch"].get("solver", {}).get("kind") != "exact"] == []
    limit = posted(address, "/v1/forecasts", body)["limit"]["coefficients"]
    expected = found.computed["limit_of_descent_from_this_start"]
    for k in range(3):
        numbers = [c["expected"] for c in limit if c["target"] == f"y{k + 1}"]
        np.testing.assert_allclose(numbers, [expected["b"][k], *expected["W"][k]], rtol=0, atol=1e-12)


def test_fresh_samples_recover_it_in_as_many_steps_as_is_said(address: str) -> None:
    computed = _case("single-sample").computed
    draw = np.random.RandomState(0).random_sample
    for shape in ((3, 3), (3, 1), (3, 1), (3, 3), (3, 1)):
        draw(shape)
    samples = draw((10_000, 3))
    targets = samples @ np.array(computed["W"]).T + np.array(computed["b"])
    start = {"kind": "values", "coefficients": np.transpose(computed["W0"]).tolist(), "intercept": computed["b0"]}
    solver = {"optimizer": {"kind": "sgd", "learning_rate": 0.001}, "batch_size": 1, "epochs": 1, "start": start}
    columns = {f"x{j + 1}": samples[:, j].tolist() for j in range(3)}
    columns |= {f"y{k + 1}": targets[:, k].tolist() for k in range(3)}
    body = {"data": {"columns": columns}, "loss": "sum_squares", "solver": solver, "record": {"limit": 2}}
    fit = fitted(address, body)
    after = computed["after_10000_fresh_samples"]
    errors = [abs(c["difference"]) for c in fit["result"]["coefficients"]]
    assert max(errors) == pytest.approx(after["largest_error"], rel=1e-9)
    cause = _causes(fit["result"])["too_few_steps"]
    agree = cause["numbers"]["steps_to_agree"]
    assert 20_000 < cause["numbers"]["steps_needed"] < agree
    # That many do it, and one step of the epoch before does not.
    again = {"data": {"dataset": fit["dataset"]}, "solver": solver | {"epochs": 1000, "max_steps": int(agree)}}
    result = fitted(address, body | again)["result"]
    assert result["causes"][0]["code"] == "agrees"
    again["solver"] |= {"max_steps": int(agree) - 1}
    assert "agrees" not in _causes(fitted(address, body | again)["result"])
    more = next(r for r in fit["result"]["remedies"] if set(r["patch"].get("solver", {})) == {"epochs"})
    assert _gap(remedied(address, more)["result"]) <= more["predicted"]["gap"] * (1 + 1e-3)


# every-iteration and broadcast.


def test_the_printed_loss_is_not_that_of_the_printed_weights(address: str) -> None:
    batches, full = _case("every-iteration").requests
    published = _case("every-iteration").published
    cause = _causes(fitted(address, full.body)["result"])["loss_is_before_update"]
    assert cause["share"] == 0.0
    assert cause["numbers"]["epoch_loss"] == pytest.approx(published["one_full_batch"]["batch_loss_before"], rel=1e-6)
    assert cause["numbers"]["loss"] == pytest.approx(published["one_full_batch"]["full_loss_after"], rel=1e-6)
    assert "402.985" in cause["message"]
    assert "352.335" in cause["message"]
    last = published["batches_of_three"][-1]
    cause = _causes(fitted(address, batches.body)["result"])["loss_is_before_update"]
    assert cause["numbers"]["batch_loss"] == pytest.approx(last["batch_loss_before"], rel=1e-6)
    assert cause["numbers"]["loss"] == pytest.approx(last["full_loss_after"], rel=1e-6)


def test_both_endings_of_the_broadcast_case(address: str) -> None:
    found = _case("broadcast")
    body = found.requests[0].body | {"record": {"limit": 2}}
    result = fitted(address, body)["result"]
    cause = _causes(result)["target_shape_broadcast"]
    mistaken = found.published["broadcast_mistake"]
    ends = [cause["numbers"][f"with the mistake: {c['term']}"] for c in result["coefficients"]]
    # Published to eight decimals, of float32 numbers.
    assert ends[0] == pytest.approx(mistaken["bias"], abs=5e-7)
    assert ends[1:] == pytest.approx(mistaken["weights"], abs=5e-7)
    right = found.published["right"]
    assert list(_estimates(result).values()) == pytest.approx([right["bias"], *right["weights"]], abs=1e-6)
    assert "(n, 1)" in cause["message"]
