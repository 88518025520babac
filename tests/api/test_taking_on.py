"""How fits are taken on over HTTP: answered by finished ones, asked for again under a key, in an order of priority."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service.api import accepting

BODY: dict[str, Any] = {"data": {"x": [1, 2, 3, 4], "y": [1, 2, 4, 3]}, "solver": {"kind": "exact"}}
DESCENT = {"epochs": 10}
QUEUED = {"optimizer": {"kind": "adam"}}
#: In place of the client's own no-cache.
ANY = {"cache-control": "max-age=60"}
LATER = {"prefer": "respond-async"}

Run = Callable[[Any], Any]


def _body(**parts: Any) -> dict[str, Any]:
    """One that no other test has sent."""
    return BODY | {"labels": {"run": uuid4().hex}} | parts


def _post(api: httpx.Client, body: dict[str, Any], status: int = 201, path: str = "/v1/fits", **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = api.post(path, json=body, headers=ANY | sent)
    assert answer.status_code == status, answer.text
    return answer


def _listed(api: httpx.Client, body: dict[str, Any]) -> list[Any]:
    found: list[Any] = api.get(f"/v1/fits?label.run={body['labels']['run']}").json()["fits"]
    return found


# Identical fits.


@pytest.mark.parametrize("solver", [{"kind": "exact"}, DESCENT], ids=["exact", "descent"])
def test_an_identical_fit_is_answered_with_the_finished_one(api: httpx.Client, solver: dict[str, Any]) -> None:
    body = _body(solver=solver)
    first, second = _post(api, body), _post(api, body, prefer="respond-async")
    assert (first.json()["cached"], second.json()["cached"]) == (False, True)
    assert second.json() == first.json() | {"cached": True}
    assert second.headers["location"] == first.headers["location"]
    assert api.get(first.headers["location"]).json()["cached"] is False
    assert [fit["id"] for fit in _listed(api, body)] == [first.json()["id"]]
    # However it is asked for: by the echo, by the dataset's id, with other priority.
    for same in (
        first.json()["request"],
        body | {"data": {"dataset": first.json()["dataset"]}},
        body | {"priority": 7},
    ):
        assert _post(api, same).json()["id"] == first.json()["id"]


def test_a_queued_one_answers_once_it_is_finished(api: httpx.Client, finish: Callable[..., None]) -> None:
    body = _body(solver=QUEUED)
    first, second = (_post(api, body, 202).json() for _ in range(2))
    assert (first["cached"], second["cached"]) == (False, False)
    assert first["id"] != second["id"]
    finish(second["id"], 2)
    finish(first["id"], 2)
    third = _post(api, body).json()
    assert (third["id"], third["cached"], third["result"]["trajectory"]["recorded"]) == (first["id"], True, 3)
    assert third["result"] == api.get(third["links"]["self"]).json()["result"]


@pytest.mark.parametrize("directives", ["no-cache", "max-age=0, No-Cache", "no-store"])
def test_a_new_one_is_run_where_that_is_asked_for(api: httpx.Client, directives: str) -> None:
    body = _body()
    first, second = _post(api, body).json(), _post(api, body, cache_control=directives).json()
    assert second["id"] != first["id"]
    assert (second["cached"], second["result"]) == (False, first["result"])


@pytest.mark.parametrize(
    "other",
    [
        {"labels": {"run": "other"}},
        {"data": {"x": [1, 2, 3, 4], "y": [1, 2, 4, 4]}},
        {"scaling": {"features": "standard"}},
        {"inference": {"confidence_level": 0.9}},
        {"solver": DESCENT},
    ],
)
def test_another_fit_is_another(api: httpx.Client, other: dict[str, Any]) -> None:
    body = _body()
    first = _post(api, body).json()
    # Of an earlier run of the same test there may be one.
    assert _post(api, body | other).json()["id"] != first["id"]


def test_one_that_diverged_answers_and_a_failed_one_does_not(api: httpx.Client, fail: Callable[[str], None]) -> None:
    diverging = _body(solver={"optimizer": {"learning_rate": 1e3}})
    first, second = _post(api, diverging).json(), _post(api, diverging).json()
    assert (first["result"]["outcome"]["kind"], second["cached"]) == ("diverged", True)
    assert second["result"] == first["result"]
    failing = _body(solver=QUEUED)
    fail(_post(api, failing, 202).json()["id"])
    assert _post(api, failing, 202).json()["cached"] is False


@pytest.mark.parametrize("solver", [{"backend": "tensorflow"}, QUEUED | {"stop": {"max_seconds": 60}}])
def test_what_may_differ_from_run_to_run_is_run(
    api: httpx.Client, finish: Callable[..., None], solver: dict[str, Any]
) -> None:
    body = _body(solver=solver)
    finish(_post(api, body, 202).json()["id"], 2)
    assert _post(api, body, 202).json()["cached"] is False


def test_a_fit_that_goes_on_is_identical_only_from_the_same_end(api: httpx.Client) -> None:
    one, other = (_post(api, _body(solver={"epochs": epochs})).json()["id"] for epochs in (3, 4))
    going_on = [_body(labels={}, solver={"epochs": 5, "start": {"kind": "fit", "fit": fit}}) for fit in (one, other)]
    first = [_post(api, body).json() for body in going_on]
    again = [_post(api, body).json() for body in going_on]
    assert [fit["cached"] for fit in first + again] == [False, False, True, True]
    assert [fit["result"] for fit in again] == [fit["result"] for fit in first]


# Keys.


def test_a_request_that_comes_again_is_answered_again(api: httpx.Client) -> None:
    body, key = _body(), uuid4().hex
    first = _post(api, body, idempotency_key=key, cache_control="no-cache")
    again = _post(api, body, idempotency_key=key, cache_control="no-cache")
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.json(), again.headers["location"]) == (first.json(), first.headers["location"])
    # Every default written out is the same request.
    assert _post(api, body | {"priority": 0, "loss": "mse"}, idempotency_key=key).json() == first.json()
    assert len(_listed(api, body)) == 1


def test_it_is_answered_as_the_fit_is_by_then(api: httpx.Client, finish: Callable[..., None]) -> None:
    body, key = _body(solver=QUEUED), f"'{uuid4().hex}~!'"
    fit_id = _post(api, body, 202, idempotency_key=key).json()["id"]
    again = _post(api, body, 202, idempotency_key=key, prefer="wait=0")
    assert (again.json()["id"], again.headers["preference-applied"]) == (fit_id, "wait=0")
    assert again.headers["retry-after"]
    finish(fit_id, 2)
    assert _post(api, body, 201, idempotency_key=key).json()["id"] == fit_id
    # What it named may be gone by then.
    assert len(_listed(api, body)) == 1


def test_a_key_of_another_request_is_refused(api: httpx.Client, stored_rows: Callable[[], int]) -> None:
    key, body = uuid4().hex, _body()
    _post(api, body, idempotency_key=key)
    before = stored_rows()
    others: list[dict[str, Any]] = [{"priority": 1}, {"labels": {}}, {"data": {"x": [1, 2, 3, 4], "y": [1, 2, 4, 4]}}]
    for other in others:
        problem = _post(api, body | other, 422, idempotency_key=key).json()
        assert problem["code"] == "idempotency-key-reused"
        assert problem["errors"][0]["parameter"] == "Idempotency-Key"
    problem = _post(api, {"fits": [body]}, 422, "/v1/fits:batch", idempotency_key=key).json()
    assert problem["code"] == "idempotency-key-reused"
    assert stored_rows() == before


@pytest.mark.parametrize("key", ["", "a b", "ä", "a" * 256, "a\tb"])
def test_a_key_is_visible_ascii(api: httpx.Client, key: str) -> None:
    for path, body in (
        ("/v1/fits", BODY),
        ("/v1/fits:batch", {"fits": [BODY]}),
        (f"/v1/fits/{uuid4()}/remedies/0", {}),
    ):
        answer = api.post(path, json=body, headers=[(b"idempotency-key", key.encode())])
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
        assert answer.json()["errors"][0]["parameter"].lower() == "idempotency-key"


def test_what_was_refused_leaves_the_key_free(api: httpx.Client) -> None:
    key, body = uuid4().hex, _body()
    _post(api, body | {"model": {"features": ["other"]}}, 422, idempotency_key=key)
    assert "idempotent-replayed" not in _post(api, body, idempotency_key=key).headers


def test_a_key_is_free_once_its_fit_is_deleted(api: httpx.Client) -> None:
    key, body = uuid4().hex, _body()
    first = _post(api, body, idempotency_key=key).json()
    assert api.delete(first["links"]["self"]).status_code == 204
    again = _post(api, body, idempotency_key=key)
    assert again.json()["id"] != first["id"]
    assert "idempotent-replayed" not in again.headers


@pytest.mark.parametrize("solver", [{"kind": "exact"}, DESCENT, QUEUED], ids=["exact", "descent", "queued"])
def test_of_twenty_at_once_one_is_run(app: Any, run: Run, api: httpx.Client, solver: dict[str, Any]) -> None:
    body, headers = _body(solver=solver), {"idempotency-key": uuid4().hex, "cache-control": "no-cache"}

    async def together() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await asyncio.gather(*(client.post("/v1/fits", json=body, headers=headers) for _ in range(20)))

    answers = run(together())
    assert {answer.status_code for answer in answers} <= {201, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(_listed(api, body)) == 1


def test_a_remedy_that_is_asked_for_again_is_started_once(api: httpx.Client, finish: Callable[..., None]) -> None:
    fit = _post(api, _body(solver=QUEUED), 202).json()
    finish(fit["id"], 2)
    [remedy, other] = api.get(fit["links"]["self"]).json()["result"]["remedies"]
    key = uuid4().hex
    first, again = (_post(api, {}, 202, remedy["href"], idempotency_key=key) for _ in range(2))
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert _post(api, {}, 422, other["href"], idempotency_key=key).json()["code"] == "idempotency-key-reused"
    assert len(api.get(f"/v1/fits?parent={fit['id']}").json()["fits"]) == 1


def test_nothing_is_checked_of_what_was_answered(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    body, key = _body(), uuid4().hex
    first = _post(api, body, idempotency_key=key)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(accepting, "solve_at_once", never)
    assert _post(api, body, idempotency_key=key).json() == first.json()


# Priority.


def test_the_priority_is_shown_and_bounded(api: httpx.Client) -> None:
    body = _body(solver=QUEUED)
    assert _post(api, body | {"priority": -100}, 202).json()["request"]["priority"] == -100
    for priority in (-101, 101, 1.5, True, "1", None):
        problem = _post(api, body | {"priority": priority}, 422).json()
        assert problem["errors"][0]["pointer"] == "/priority"
