"""Starting what a fit's remedies ask for: the same request, patched, and the same ways to be answered."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from service.bootstrap import Services

Run = Callable[[Any], Any]
Finish = Callable[..., None]

LATER = {"prefer": "respond-async"}
#: The first of the stand-in's remedies (`tests.jobs.reports`) scales the features; the second asks for many epochs.
BODY: dict[str, Any] = {"data": {"columns": {"x": [1, 2, 3, 5], "y": [1, 2, 4, 3]}}, "labels": {"team": "a"}}
SCALED, LONGER = 0, 1


@pytest.fixture
def fit(api: httpx.Client, finish: Finish) -> dict[str, Any]:
    """A finished descent with two remedies."""
    return _finished(api, finish)


def _finished(api: httpx.Client, finish: Finish, **parts: Any) -> dict[str, Any]:
    sent = api.post("/v1/fits", json=BODY | parts, headers=LATER)
    assert sent.status_code == 202, sent.text
    finish(sent.json()["id"], 2)
    done: dict[str, Any] = api.get(sent.headers["location"]).json()
    assert done["status"] == "succeeded"
    return done


def _apply(
    api: httpx.Client, fit: dict[str, Any], number: int = SCALED, headers: dict[str, str] | None = None
) -> httpx.Response:
    return api.post(fit["result"]["remedies"][number]["href"], headers=headers)


def test_remedies_stand_by_themselves_and_with_their_causes(fit: dict[str, Any]) -> None:
    first, second = fit["result"]["remedies"]
    unscaled, free = fit["result"]["causes"]
    assert (unscaled["remedy"], free["remedy"]) == (first, None)
    assert first["href"] == f"{fit['links']['self']}/remedies/0"
    assert first["patch"] == {"scaling": {"features": "standard"}}
    assert (second["number"], second["measured"], second["verified"]) == (1, None, False)
    assert second["predicted"] == {"steps": 10**6, "gap": 1e-9}


def test_what_is_not_finite_is_null(fit: dict[str, Any]) -> None:
    direction, flat = fit["result"]["directions"]
    assert direction["terms"] == {"x": 0.5, "z": -0.5}
    assert (direction["rate"], flat["eigenvalue"], flat["rate"]) == (None, 0.0, None)
    assert direction["steps_to"] == [{"fraction": 0.1, "steps": 7}, {"fraction": 0.01, "steps": None}]
    assert fit["result"]["causes"][0]["numbers"] == {"condition_number": None, "steps": None}
    assert fit["result"]["remedies"][0]["measured"] == {"steps": 9, "gap": None}


def test_the_patched_fit_is_answered_as_any_other_and_names_its_parent(api: httpx.Client, fit: dict[str, Any]) -> None:
    answered = _apply(api, fit)
    assert answered.status_code == 201, answered.text
    child = answered.json()
    assert answered.headers["location"] == child["links"]["self"]
    assert (child["status"], child["parent"], child["labels"]) == ("succeeded", fit["id"], {"team": "a"})
    assert (child["links"]["parent"], child["dataset"]) == (fit["links"]["self"], fit["dataset"])
    assert child["request"] == fit["request"] | {"scaling": {"features": "standard", "targets": "none"}}
    assert api.get(child["links"]["self"]).json() == child
    assert (fit["parent"], fit["links"]["parent"]) == (None, None)


def test_it_may_be_left_to_the_queue_or_waited_for(api: httpx.Client, fit: dict[str, Any], finish: Finish) -> None:
    queued = _apply(api, fit, headers=LATER)
    assert (queued.status_code, queued.json()["status"]) == (202, "queued")
    assert queued.headers["preference-applied"] == "respond-async"
    assert queued.headers["retry-after"]
    finish(queued.json()["id"], 2)
    assert api.get(queued.headers["location"]).json()["parent"] == fit["id"]
    assert _apply(api, fit, headers={"prefer": "wait=1"}).headers["preference-applied"] == "wait=1"


def test_what_a_patch_takes_out_is_the_default_again(api: httpx.Client, finish: Finish) -> None:
    fit = _finished(api, finish, solver={"max_steps": 7, "batch_size": 2})
    solver = _apply(api, fit, LONGER).json()["request"]["solver"]
    assert (solver["max_steps"], solver["epochs"], solver["batch_size"]) == (None, 10**6, 2)


def test_a_case_stays_a_case(api: httpx.Client, finish: Finish) -> None:
    fit = _finished(api, finish, data={"case": "tiny-scale"})
    assert _apply(api, fit).json()["request"]["data"] == {"case": "tiny-scale"}


def test_the_fits_of_one_parent_are_listed(api: httpx.Client, fit: dict[str, Any]) -> None:
    children = [_apply(api, fit, number, LATER).json() for number in (SCALED, LONGER)]
    assert api.get(f"/v1/fits?parent={fit['id']}").json()["fits"] == children[::-1]
    assert api.get(f"/v1/fits?parent={fit['id']}&status=succeeded").json()["fits"] == []
    assert api.get(f"/v1/fits?parent={children[0]['id']}").json()["fits"] == []


def test_a_remedy_of_a_remedy_names_its_own_parent(api: httpx.Client, fit: dict[str, Any], finish: Finish) -> None:
    child = _apply(api, fit, LONGER, LATER).json()
    finish(child["id"], 2)
    grandchild = _apply(api, api.get(child["links"]["self"]).json()).json()
    assert grandchild["parent"] == child["id"]
    assert grandchild["request"]["solver"]["epochs"] == 10**6


def test_where_the_first_one_started_the_patched_one_starts_too(
    api: httpx.Client, finish: Finish, services: Services, run: Run
) -> None:
    columns = {"columns": {"x": [1, 2, 3, 5], "y": [1, 2, 4, 3]}}
    first = api.post("/v1/fits", json={"data": columns, "solver": {"epochs": 3}}).json()
    start = {"kind": "fit", "fit": first["id"]}
    fit = _finished(api, finish, solver={"epochs": 2, "start": start})
    child = _apply(api, fit).json()
    assert child["request"]["solver"]["start"] == start

    async def delete() -> None:
        async with services.pool.connection() as connection:
            await connection.execute("DELETE FROM fit WHERE id = %s", [UUID(first["id"])])

    run(delete())
    again = _apply(api, fit).json()
    assert again["result"]["coefficients"] == child["result"]["coefficients"]
    begun = again["result"]["trajectory"]["columns"]["coefficients"]["y"]["x"][0]
    [x] = [item for item in first["result"]["coefficients"] if item["term"] == "x"]
    assert begun == pytest.approx(x["estimate"], rel=1e-12)


@pytest.mark.parametrize("number", ["2", "-1", "x", "0.5", "99999999999999999999"])
def test_there_must_be_such_a_remedy(
    api: httpx.Client, fit: dict[str, Any], number: str, stored_rows: Callable[[], int]
) -> None:
    before = stored_rows()
    refused = api.post(f"{fit['links']['self']}/remedies/{number}")
    assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    assert stored_rows() == before


def test_there_must_be_such_a_fit(api: httpx.Client) -> None:
    assert api.post(f"/v1/fits/{uuid4()}/remedies/0").status_code == 404
    assert api.post("/v1/fits/x/remedies/0").status_code == 404


def test_the_fit_must_have_come_to_an_end(api: httpx.Client, fail: Callable[[str], None]) -> None:
    queued = api.post("/v1/fits", json=BODY, headers=LATER).json()
    early = api.post(f"{queued['links']['self']}/remedies/0")
    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "not-finished", "1")
    fail(queued["id"])
    assert api.post(f"{queued['links']['self']}/remedies/0").status_code == 404


def test_an_exact_fit_has_nothing_to_remedy(api: httpx.Client) -> None:
    fit = api.post("/v1/fits", json=BODY | {"solver": {"kind": "exact"}}).json()
    assert [fit["result"][part] for part in ("directions", "causes", "remedies")] == [[], [], []]
    refused = api.post(f"{fit['links']['self']}/remedies/0")
    assert (refused.status_code, refused.json()["detail"]) == (404, "The fit has no remedies.")


def test_only_post_starts_it(api: httpx.Client, fit: dict[str, Any]) -> None:
    refused = api.get(fit["result"]["remedies"][0]["href"])
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_a_remedy_does_what_it_says(api: httpx.Client) -> None:
    """Nothing stands in for anything here: a fit that is off, what is said of it, and the fit that is started."""
    solver = {"optimizer": {"learning_rate": 0.1}}
    fit = api.post("/v1/fits", json={"data": {"case": "tiny-scale"}, "solver": solver}).json()
    said = fit["result"]
    assert said["causes"][0]["code"] == "features_unscaled"
    assert said["causes"][0]["remedy"] == said["remedies"][0]
    child = _apply(api, fit).json()
    assert child["request"]["scaling"]["features"] == "standard"
    measured = said["remedies"][0]["measured"]
    assert child["result"]["outcome"]["steps"] == measured["steps"]
    gap = sum(item["difference"] ** 2 for item in child["result"]["coefficients"]) ** 0.5
    assert gap == pytest.approx(measured["gap"], rel=1e-6)
    assert child["result"]["causes"][0]["code"] == "agrees"
    assert child["result"]["remedies"] == []


def test_a_remedy_may_be_the_exact_solver(api: httpx.Client) -> None:
    twice = {"columns": {"x": [1, 2, 3, 5], "z": [2, 4, 6, 10], "y": [1, 2, 4, 3]}}
    start = {"kind": "values", "coefficients": [1, 2], "intercept": 3}
    fit = api.post("/v1/fits", json={"data": twice, "solver": {"start": start}}).json()
    [exact] = [item for item in fit["result"]["remedies"] if "kind" in item["patch"].get("solver", {})]
    child = _apply(api, fit, exact["number"]).json()
    assert (child["result"]["outcome"]["kind"], child["parent"]) == ("exact", fit["id"])
    assert child["request"]["solver"] == {"kind": "exact", "penalty": None}
    assert max(abs(item["difference"]) for item in child["result"]["coefficients"]) == 0.0
