"""Forecasts over HTTP: what a fit will do, told before it is done, and leaving nothing behind."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn
from uuid import uuid4

import httpx
import numpy as np
import pytest

from service.bootstrap import Services
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.patches import merged
from service.fitting.diagnosis.simulation import Simulate, TooLong
from service.jobs.forecasting import Forecaster
from tests.conftest import Outage

Count = Callable[[], int]

_STREAM = np.random.default_rng(5)
_X = _STREAM.normal(size=(40, 2)).round(3)
_Y = (_X @ [1.5, -0.5] + 0.1 * _STREAM.normal(size=40)).round(3)
DATA: dict[str, Any] = {
    "columns": {"a": (20 * _X[:, 0] + 50).round(3).tolist(), "b": _X[:, 1].tolist(), "y": _Y.tolist()}
}
CALM = {"features": "standard"}


@pytest.fixture
def forecast(api: httpx.Client, stored_rows: Count) -> Callable[..., dict[str, Any]]:
    """Ask for a forecast, which leaves nothing behind."""

    def asked(**parts: Any) -> dict[str, Any]:
        before = stored_rows()
        answered = api.post("/v1/forecasts", json={"data": DATA} | parts)
        assert answered.status_code == 200, answered.text
        assert stored_rows() == before
        told: dict[str, Any] = answered.json()
        return told

    return asked


Forecast = Callable[..., dict[str, Any]]


def _fit(api: httpx.Client, **parts: Any) -> dict[str, Any]:
    answered = api.post("/v1/fits", json={"data": DATA} | parts)
    assert answered.status_code == 201, answered.text
    fit: dict[str, Any] = answered.json()
    return fit


def _expected(place: dict[str, Any]) -> list[float]:
    return [item["expected"] for item in place["coefficients"]]


def _came_to(fit: dict[str, Any], name: str = "estimate") -> list[float]:
    return [item[name] for item in fit["result"]["coefficients"]]


SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("eigen", {"epochs": 30}),
    "momentum": ("companion", {"epochs": 30, "optimizer": {"momentum": 0.9}}),
    "batches": ("epoch_map", {"epochs": 5, "batch_size": 16}),
    "unstable": ("eigen", {"epochs": 30, "optimizer": {"learning_rate": 1.0}}),
    "from given values": ("eigen", {"epochs": 7, "start": {"kind": "values", "coefficients": [1, 2], "intercept": 3}}),
}


@pytest.mark.parametrize(("method", "solver"), SOLVERS.values(), ids=SOLVERS)
def test_the_end_is_where_the_fit_ends(
    api: httpx.Client, forecast: Forecast, method: str, solver: dict[str, Any]
) -> None:
    told, fit = forecast(scaling=CALM, solver=solver), _fit(api, scaling=CALM, solver=solver)
    assert (told["method"], told["exact"]) == (method, True)
    assert told["end"]["steps"] == fit["result"]["outcome"]["steps"]
    assert _expected(told["end"]) == pytest.approx(_came_to(fit), rel=1e-9)
    assert told["end"]["loss"] == pytest.approx(fit["result"]["loss"]["final"], rel=1e-9)
    assert [item["sd"] for item in told["end"]["coefficients"]] == [0.0, 0.0, 0.0]
    assert [item["term"] for item in told["end"]["coefficients"]] == ["(intercept)", "a", "b"]


def test_what_is_said_of_a_fit_is_what_was_forecast_of_it(api: httpx.Client, forecast: Forecast) -> None:
    solver = {"epochs": 20}
    told, fit = forecast(scaling=CALM, solver=solver), _fit(api, scaling=CALM, solver=solver)
    said = fit["result"]
    assert [item["name"] for item in told["directions"]] == [item["name"] for item in said["directions"]]
    for before, after in zip(told["directions"], said["directions"], strict=True):
        assert before["gap_at_end"] == pytest.approx(after["gap_at_end"], rel=1e-6)
        assert before["steps_to"] == after["steps_to"]
    # Nothing is printed of what is not run.
    printed = {"loss_is_before_update"}
    assert [item["code"] for item in told["causes"]] == [
        item["code"] for item in said["causes"] if item["code"] not in printed
    ]


def test_the_largest_stable_rate_parts_what_arrives_from_what_does_not(forecast: Forecast) -> None:
    largest = forecast(scaling=CALM)["largest_stable_learning_rate"]
    for factor, stable in ((0.99, True), (1.01, False)):
        told = forecast(scaling=CALM, solver={"optimizer": {"learning_rate": factor * largest}})
        assert (told["stable"], told["limit"] is not None) == (stable, stable)
        assert (told["steps_to"][0]["steps"] is not None) == stable


def test_the_limit_is_the_reference_where_nothing_keeps_it_away(api: httpx.Client, forecast: Forecast) -> None:
    reference = _came_to(_fit(api), "reference")
    assert _expected(forecast(scaling=CALM)["limit"]) == pytest.approx(reference, rel=1e-9)
    batches = forecast(scaling=CALM, solver={"batch_size": 16})
    assert _expected(batches["limit"]) != pytest.approx(reference, rel=1e-4)


def test_shuffles_end_within_what_chance_does(forecast: Forecast) -> None:
    told = forecast(scaling=CALM, solver={"batch_size": 16, "shuffle": True})
    assert (told["method"], told["exact"]) == ("lyapunov", False)
    assert all(item["sd"] > 0.0 for item in told["end"]["coefficients"])


@pytest.fixture
def simulated_by(app: Any, services: Services) -> Iterator[Callable[[Simulate], None]]:
    """Have simulations done by somebody else than a child process."""

    def replaced(simulate: Simulate) -> None:
        app.state.backing = replace(services, forecaster=Forecaster(services.datasets, simulate))

    yield replaced
    app.state.backing = services


def test_adaptive_steps_are_simulated(forecast: Forecast, simulated_by: Callable[[Simulate], None]) -> None:
    simulated_by(simulate)
    told = forecast(scaling=CALM, solver={"optimizer": {"kind": "adam"}, "epochs": 20})
    assert (told["method"], told["end"]["steps"], told["largest_stable_learning_rate"]) == ("simulated", 20, None)


def test_data_may_be_named(api: httpx.Client, forecast: Forecast) -> None:
    stored = _fit(api)["dataset"]
    inline = forecast()
    assert forecast(data={"dataset": stored}) == forecast(data={"dataset": stored}) == inline
    assert forecast(data={"case": "tiny-scale"})["end"]["coefficients"][1]["term"] == "x"


def test_what_nobody_has_stored_cannot_be_named(api: httpx.Client, forecast: Forecast) -> None:
    columns = {"columns": {"x": [1.0, 2.0, 4.0], "y": [uuid4().int % 1000 + 0.5, 2.0, 3.0]}}
    forecast(data=columns)
    dataset = _fit(api, data=columns)["dataset"]
    other = dataset[:-1] + ("0" if dataset[-1] != "0" else "1")
    refused = api.post("/v1/forecasts", json={"data": {"dataset": other}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/data/dataset")


def test_what_goes_on_from_a_fit_ends_where_the_whole_does(api: httpx.Client, forecast: Forecast) -> None:
    solver = {"optimizer": {"momentum": 0.5}, "batch_size": 16}
    half = _fit(api, scaling=CALM, solver=solver | {"epochs": 3})
    rest = forecast(scaling=CALM, solver=solver | {"epochs": 4, "start": {"kind": "fit", "fit": half["id"]}})
    whole = _fit(api, scaling=CALM, solver=solver | {"epochs": 7})
    assert _expected(rest["end"]) == pytest.approx(_came_to(whole), rel=1e-10)
    gone = {"kind": "fit", "fit": str(uuid4())}
    refused = api.post("/v1/forecasts", json={"data": DATA, "solver": {"start": gone}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/solver/start/fit")


def test_a_remedys_patch_goes_onto_the_body_that_was_sent(api: httpx.Client, forecast: Forecast) -> None:
    body = {"data": DATA, "solver": {"optimizer": {"learning_rate": 1e-4}}}
    told = forecast(**body)
    [first, *_] = told["remedies"]
    assert (first["href"], first["number"]) == (None, 0)
    assert first in [cause["remedy"] for cause in told["causes"]]
    cured = _fit(api, **merged(body, first["patch"]))
    gap = np.linalg.norm(_came_to(cured, "difference"))
    assert gap == pytest.approx(first["measured"]["gap"], rel=1e-6, abs=1e-12)
    assert cured["result"]["causes"][0]["code"] == "agrees"


def test_what_is_asked_to_be_explained_is(forecast: Forecast) -> None:
    told = forecast(scaling=CALM, explain=["broadcast"])
    [cause] = [cause for cause in told["causes"] if cause["code"] == "target_shape_broadcast"]
    # Every prediction meets every target: what is printed there is about their variance.
    assert cause["numbers"]["printed_loss"] == pytest.approx(float(_Y.var()), rel=0.1)
    assert "target_shape_broadcast" not in [cause["code"] for cause in forecast(scaling=CALM)["causes"]]


def test_the_bytes_are_those_of_the_recorded_rows(forecast: Forecast) -> None:
    sizes = [forecast(solver={"epochs": 500}, record={"every": {"steps": k}})["trajectory_bytes"] for k in (1, 10)]
    assert sizes[0] - sizes[1] > 8 * 400
    bare = forecast(solver={"epochs": 500}, record={"coefficients": False})
    assert bare["trajectory_bytes"] != sizes[0]


def test_every_cause_is_in_the_catalogue_with_its_numbers(api: httpx.Client, forecast: Forecast) -> None:
    catalogue = {cause["code"]: cause for cause in api.get("/v1/causes").json()["causes"]}
    assert len(catalogue) >= 12
    asked = [forecast(scaling=scaling, solver=solver) for scaling in ({}, CALM) for _, solver in SOLVERS.values()]
    causes = [cause for told in asked for cause in told["causes"]]
    assert len({cause["code"] for cause in causes}) >= 4
    for cause in causes:
        named = {number["name"] for number in catalogue[cause["code"]]["numbers"]}
        assert cause["numbers"].keys() == named, cause


def test_the_catalogue_of_causes_can_be_kept(api: httpx.Client) -> None:
    answer = api.get("/v1/causes")
    again = api.get("/v1/causes", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    for cause in answer.json()["causes"]:
        assert all(text.endswith(".") for text in (cause["meaning"], cause["share"]))


def test_steps_that_nobody_can_take_are_asked_for_later(
    api: httpx.Client, simulated_by: Callable[[Simulate], None]
) -> None:
    def nobody(_: object) -> NoReturn:
        raise TooLong

    simulated_by(nobody)
    refused = api.post("/v1/forecasts", json={"data": DATA, "solver": {"optimizer": {"kind": "adam"}}})
    assert (refused.status_code, refused.json()["code"]) == (503, "simulation-unavailable")
    assert refused.headers["retry-after"]
    assert api.post("/v1/forecasts", json={"data": DATA}).status_code == 200


def test_inline_data_need_no_database(api: httpx.Client, outage: Outage) -> None:
    known = _fit(api)["dataset"]
    with outage():
        assert api.post("/v1/forecasts", json={"data": DATA}).status_code == 200
        refused = api.post("/v1/forecasts", json={"data": {"dataset": known}})
        assert (refused.status_code, refused.json()["code"]) == (503, "database-unavailable")


def test_a_forecast_is_asked_for_by_post(api: httpx.Client) -> None:
    refused = api.get("/v1/forecasts")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
