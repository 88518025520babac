"""The queue over HTTP: how it is doing, what it has given up, and lists that do not carry results."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

#: For the queue in any case: no closed form.
BODY = {"data": {"x": [1, 2, 3], "y": [1, 2, 4]}, "solver": {"optimizer": {"kind": "adam"}}}
FRESH = {"prefer": "respond-async", "cache-control": "no-cache"}


def _post(api: httpx.Client, **parts: Any) -> dict[str, Any]:
    fit: dict[str, Any] = api.post("/v1/fits", json=BODY | parts, headers=FRESH).json()
    return fit


def test_an_empty_queue(api: httpx.Client) -> None:
    assert api.get("/v1/queue").json() == {
        "depth": 0,
        "running": 0,
        "oldest": None,
        "arrivals": 0.0,
        "rate": 0.0,
        "workers": 0,
        "busy": 0,
        "lines": [],
    }


def test_the_queue_says_how_it_is_doing(api: httpx.Client, finish: Callable[..., None]) -> None:
    before = api.get("/v1/queue").json()
    for priority in (5, 5, -5):
        fit = _post(api, priority=priority)
    finish(fit["id"], 2)
    report = api.get("/v1/queue").json()
    assert report["depth"] == before["depth"] + 2
    assert report["rate"] > before["rate"]
    assert report["arrivals"] > before["arrivals"]
    [line] = [line for line in report["lines"] if line["priority"] == 5]
    assert line["depth"] == 2
    assert 0 <= line["oldest"] <= report["oldest"] < 60
    assert api.head("/v1/queue").status_code == 200


def test_failed_fits_are_dead_letters_until_they_are_tried_again(
    api: httpx.Client, fail: Callable[[str], None]
) -> None:
    _post(api)
    fits = [_post(api, labels={"n": str(n)}) for n in range(3)]
    for fit in fits:
        fail(fit["id"])
    first = api.get("/v1/queue/dead?page_size=2").json()
    second = api.get(f"/v1/queue/dead?page_size=2&page_token={first['next_page_token']}").json()
    letters = first["dead"] + second["dead"]
    assert [letter["id"] for letter in letters] == [fit["id"] for fit in fits[::-1]]
    assert second["next_page_token"] is None
    path = f"/v1/fits/{fits[2]['id']}"
    assert letters[0] == {
        "id": fits[2]["id"],
        "labels": {"n": "2"},
        "attempts": 1,
        "failed_at": api.get(path).json()["finished_at"],
        "error": {"code": "crashed", "message": "The child crashed three times."},
        "links": {"fit": path, "retry": f"{path}/retry"},
    }
    assert api.post(letters[0]["links"]["retry"]).status_code == 202
    assert api.delete(letters[1]["links"]["fit"]).status_code == 204
    assert api.get("/v1/queue/dead").json()["dead"] == letters[2:]


@pytest.mark.parametrize("query", ["page_size=0", "page_size=201", "page_size=x", "page_token=x", "status=failed"])
def test_pages_that_cannot_be_are_refused(api: httpx.Client, query: str) -> None:
    answer = api.get(f"/v1/queue/dead?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize("path", ["/v1/queue", "/v1/queue/dead"])
def test_the_queue_is_only_read(api: httpx.Client, path: str) -> None:
    answer = api.delete(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_summary_is_a_list_without_results(
    api: httpx.Client, finish: Callable[..., None], fail: Callable[[str], None]
) -> None:
    label = uuid4().hex
    done, broken = (_post(api, labels={"run": label})["id"] for _ in range(2))
    finish(done, 2)
    fail(broken)
    full, also_full, summary = (
        api.get(f"/v1/fits?label.run={label}{view}").json() for view in ("", "&view=full", "&view=summary")
    )
    assert full == also_full
    assert full["fits"][1]["result"]["covariance"]
    assert summary == full | {"fits": [fit | {"result": None} for fit in full["fits"]]}
    answer = api.get("/v1/fits?view=short")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "view")
