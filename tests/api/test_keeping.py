"""Fits cancelled, tried again and deleted over HTTP. What a worker does is done by hand."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from service.bootstrap import Services
from tests.api.conftest import Run

#: For the queue in any case: no closed form.
BODY = {"data": {"x": [1, 2, 3], "y": [1, 2, 4]}, "solver": {"optimizer": {"kind": "adam"}}}
FRESH = {"prefer": "respond-async", "cache-control": "no-cache"}

Bring = Callable[[str], dict[str, Any]]


@pytest.fixture
def bring(api: httpx.Client, finish: Callable[..., None], fail: Callable[[str], None], begin: Bring) -> Bring:
    """Has a fit come to a status, and returns it."""

    def brought(status: str) -> dict[str, Any]:
        fit_id = api.post("/v1/fits", json=BODY, headers=FRESH).json()["id"]
        match status:
            case "running":
                begin(fit_id)
            case "succeeded":
                finish(fit_id, 2)
            case "failed":
                fail(fit_id)
            case "cancelled":
                api.post(f"/v1/fits/{fit_id}/cancel")
        fit: dict[str, Any] = api.get(f"/v1/fits/{fit_id}").json()
        assert fit["status"] == status
        return fit

    return brought


@pytest.fixture
def begin(services: Services, run: Run[Any]) -> Callable[[str], None]:
    """Do a worker's part: begin a fit."""

    async def begun(fit_id: str) -> None:
        async with services.pool.connection() as connection:
            await connection.execute("UPDATE fit SET status = 'running', attempt = 1 WHERE id = %s", [UUID(fit_id)])

    return lambda fit_id: run(begun(fit_id))


def test_a_queued_fit_is_cancelled(api: httpx.Client, bring: Bring) -> None:
    fit = bring("queued")
    assert fit["links"]["cancel"] == f"/v1/fits/{fit['id']}/cancel"
    for _ in range(2):
        answer = api.post(fit["links"]["cancel"])
        assert (answer.status_code, answer.headers["location"]) == (202, fit["links"]["self"])
        assert "retry-after" not in answer.headers
        cancelled = answer.json()
        assert (cancelled["status"], cancelled["result"], cancelled["error"]) == ("cancelled", None, None)
        assert (cancelled["links"]["cancel"], cancelled["links"]["retry"]) == (None, None)
    assert api.get(fit["links"]["self"]).json() == cancelled


def test_a_running_fit_is_cancelled_by_its_worker(api: httpx.Client, bring: Bring) -> None:
    fit = bring("running")
    for _ in range(2):
        answer = api.post(fit["links"]["cancel"])
        assert (answer.status_code, answer.json()["status"]) == (202, "running")
        assert answer.headers["retry-after"]


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_finished_fit_cannot_be_cancelled(api: httpx.Client, bring: Bring, status: str) -> None:
    fit = bring(status)
    assert fit["links"]["cancel"] is None
    answer = api.post(f"/v1/fits/{fit['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "already-finished")
    assert status in answer.json()["detail"]
    assert api.get(fit["links"]["self"]).json() == fit


def test_a_failed_fit_is_tried_again(api: httpx.Client, bring: Bring, finish: Callable[..., None]) -> None:
    fit = bring("failed")
    before = api.get(fit["links"]["self"]).headers["etag"]
    answer = api.post(fit["links"]["retry"])
    assert (answer.status_code, answer.headers["location"]) == (202, fit["links"]["self"])
    again = answer.json()
    assert (again["id"], again["status"], again["attempt"], again["error"]) == (fit["id"], "queued", 0, None)
    assert (again["created_at"], again["finished_at"]) == (fit["created_at"], None)
    assert again["links"]["retry"] is None
    assert again["links"]["cancel"]
    assert api.get(fit["links"]["self"]).headers["etag"] != before
    finish(fit["id"], 2)
    assert api.get(fit["links"]["self"]).json()["status"] == "succeeded"


@pytest.mark.parametrize("status", ["queued", "running", "succeeded", "cancelled"])
def test_only_a_failed_fit_is_tried_again(api: httpx.Client, bring: Bring, status: str) -> None:
    fit = bring(status)
    assert fit["links"]["retry"] is None
    answer = api.post(f"/v1/fits/{fit['id']}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "not-failed")
    assert status in answer.json()["detail"]


@pytest.mark.parametrize("status", ["queued", "succeeded", "failed", "cancelled"])
def test_a_deleted_fit_is_gone(api: httpx.Client, bring: Bring, status: str) -> None:
    fit = bring(status)
    answer = api.delete(fit["links"]["self"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(fit["links"]["self"]).status_code == 404
    assert api.get(fit["links"]["trajectory"]).status_code == 404
    assert api.delete(fit["links"]["self"]).status_code == 404


def test_a_deleted_fit_takes_its_data_along(
    api: httpx.Client, services: Services, run: Run[Any], stored_rows: Callable[[], int]
) -> None:
    before = stored_rows()
    body = BODY | {"data": {"x": [1, 2, 3], "y": [1, 2, 5]}}
    fits = [api.post("/v1/fits", json=body, headers=FRESH).json() for _ in range(2)]
    for fit, left in zip(fits, (True, False), strict=True):
        api.delete(fit["links"]["self"])
        assert run(services.datasets.has(fit["dataset"])) == left
    assert stored_rows() == before
    answer = api.post("/v1/fits", json=BODY | {"data": {"dataset": fits[0]["dataset"]}})
    assert answer.status_code == 422


def test_a_running_fit_is_cancelled_before_it_is_deleted(api: httpx.Client, bring: Bring) -> None:
    fit = bring("running")
    answer = api.delete(fit["links"]["self"])
    assert (answer.status_code, answer.json()["code"]) == (409, "still-running")
    assert "cancel" in answer.json()["detail"]
    assert api.get(fit["links"]["self"]).json() == fit


@pytest.mark.parametrize("fit_id", [str(uuid4()), "17", "%00", "{}"])
@pytest.mark.parametrize(("method", "rest"), [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")])
def test_what_is_not_there_is_not_found(api: httpx.Client, method: str, rest: str, fit_id: str) -> None:
    answer = api.request(method, f"/v1/fits/{fit_id}{rest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "rest", "allowed"),
    [
        ("GET", "/cancel", "POST"),
        ("DELETE", "/retry", "POST"),
        ("PUT", "", "DELETE, GET, HEAD"),
        ("PATCH", "", "DELETE, GET, HEAD"),
        ("POST", "", "DELETE, GET, HEAD"),
    ],
)
def test_other_methods_are_told_which_there_are(api: httpx.Client, method: str, rest: str, allowed: str) -> None:
    answer = api.request(method, f"/v1/fits/{uuid4()}{rest}")
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["code"] == "method-not-allowed"


@pytest.mark.parametrize(("method", "rest"), [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")])
def test_parameters_that_do_not_exist_are_refused(api: httpx.Client, bring: Bring, method: str, rest: str) -> None:
    fit = bring("queued")
    answer = api.request(method, f"{fit['links']['self']}{rest}?force=true")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "force")
    assert api.get(fit["links"]["self"]).json() == fit
