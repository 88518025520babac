"""The five questions through HTTP, on a whole service: every number that was published, or computed from the recipe."""

import numpy as np
import pytest

from service.datasets.cases import CaseRequest, Expectation, case, case_names
from service.demo import BACKENDS, answer_of, backends, show
from tests.cases.asking import fitted

REQUESTS = [
    pytest.param(request, backend, id=f"{name}: {request.title}: {backend}")
    for name in case_names()
    for request in getattr(case(name), "requests", ())
    for backend in backends(request)
]


@pytest.mark.parametrize(("request_", "backend"), REQUESTS)
def test_every_number_comes_out(address: str, request_: CaseRequest, backend: str) -> None:
    answer = answer_of(address, request_, backend)
    off = {e.text: (e.value, n) for e in request_.expected if not e.error(n := answer.number(e)) <= e.tolerance}
    assert not off


def test_every_case_expects_something_published() -> None:
    for name in case_names():
        found = case(name)
        assert found is not None
        assert all(request.expected for request in found.requests)
        assert found.dataset().rows >= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_running_rmse_of_an_epoch(address: str, backend: str) -> None:
    """The root of the mean over all rows so far, each with the weights in force when its batch was met."""
    found = case("every-iteration")
    assert found is not None
    body = found.requests[0].body
    fit = fitted(address, body | {"solver": body["solver"] | {"backend": backend}})
    columns = fit["result"]["trajectory"]["columns"]
    x, y = found.dataset().values.T
    slope, intercept = (np.array(columns["coefficients"]["y"][term]) for term in ("x", "(intercept)"))
    residuals = np.concatenate([slope[b] * x[3 * b :][:3] + intercept[b] - y[3 * b :][:3] for b in range(4)])
    expected = [np.sqrt(np.mean(residuals[: 3 * b] ** 2)) for b in range(1, 5)]
    np.testing.assert_allclose(columns["epoch_rmse"][1:], expected, rtol=1e-9)
    assert columns["epoch"] == [0, 1, 1, 1, 1]
    assert columns["batch"] == [0, 1, 2, 3, 4]
    assert columns["rows"] == [0, 3, 3, 3, 3]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flat_target_never_broadcasts(address: str, backend: str) -> None:
    stream = np.random.default_rng(20)
    x, y = stream.random((40, 2)), stream.random(40)
    solver = {"kind": "descent", "backend": backend, "epochs": 20, "batch_size": 8}
    flat, tall = (
        fitted(address, {"data": {"x": x.tolist(), "y": target.tolist()}, "solver": solver})
        for target in (y, y[:, None])
    )
    assert flat["dataset"] == tall["dataset"]
    for part in ("coefficients", "loss"):
        assert flat["result"][part] == tall["result"][part]
    assert flat["result"]["trajectory"]["columns"] == tall["result"]["trajectory"]["columns"]


def test_the_one_sample_identifies_nothing(address: str) -> None:
    fit = fitted(address, {"data": {"case": "single-sample"}, "solver": {"kind": "exact"}})
    assert fit["result"]["reference"]["rank"] == 1
    assert not any(coefficient["identified"] for coefficient in fit["result"]["coefficients"])


def test_what_the_sample_spans_is_identified(address: str) -> None:
    """Two rows that differ in x1 alone identify its slope, and nothing else of what x2 and the intercept share."""
    data = {"columns": {"x1": [1.0, 2.0], "x2": [3.0, 3.0], "y": [1.0, 5.0]}}
    fit = fitted(address, {"data": data, "solver": {"kind": "exact"}})
    identified = {c["term"]: c["identified"] for c in fit["result"]["coefficients"]}
    assert identified == {"(intercept)": False, "x1": True, "x2": False}
    assert fit["result"]["coefficients"][1]["estimate"] == pytest.approx(4.0, rel=1e-14)


def test_the_demonstration_says_what_agrees_and_counts_what_is_off(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert show(address, "every-iteration") == 0
    said = capsys.readouterr().out
    assert "402.985" in said
    assert "OFF" not in said
    monkeypatch.setattr(Expectation, "error", lambda *_: 1.0)
    assert show(address, "every-iteration") == 2 * sum(
        len(request.expected) for request in getattr(case("every-iteration"), "requests", ())
    )
    assert "agrees" not in capsys.readouterr().out
