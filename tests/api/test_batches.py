"""Many fits in one request: all or none, in their order, without keeping others waiting."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

BODY: dict[str, Any] = {"data": {"x": [1, 2, 3, 4], "y": [1, 2, 4, 3]}}
EXACT = {"kind": "exact"}
#: In place of the client's own no-cache.
ANY = {"cache-control": "max-age=60"}

Run = Callable[[Any], Any]


def _fits(count: int, **parts: Any) -> list[dict[str, Any]]:
    """As many different ones that no other test has sent."""
    run = uuid4().hex
    return [BODY | {"labels": {"run": run, "n": str(n)}} | parts for n in range(count)]


def _post(api: httpx.Client, fits: list[Any], status: int = 202, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = api.post("/v1/fits:batch", json={"fits": fits}, headers=ANY | sent)
    assert answer.status_code == status, answer.text[:2000]
    return answer


def test_all_are_queued_and_answered_in_their_order(api: httpx.Client) -> None:
    columns = {"columns": {"a": [1, 2, 3], "b": [2, 4, 7]}}
    fits = _fits(4, solver=EXACT)
    fits[1] |= {"data": columns, "model": {"targets": ["b"]}, "priority": 9}
    fits[2] |= {"data": {"case": "collinear"}}
    answered = _post(api, fits).json()["fits"]
    read = [api.get(fit["links"]["self"]).json() for fit in answered]
    assert [fit["labels"] for fit in read] == [fit["labels"] for fit in fits]
    for short, whole in zip(answered, read, strict=True):
        assert short == {"id": whole["id"], "status": "queued", "cached": False, "links": whole["links"]}
    assert read[1]["request"]["priority"] == 9
    assert read[1]["request"]["model"]["features"] == ["a"]
    assert read[2]["request"]["data"] == {"case": "collinear"}
    listed = api.get(f"/v1/fits?label.run={fits[0]['labels']['run']}").json()["fits"]
    assert [fit["id"] for fit in listed] == [fit["id"] for fit in reversed(answered)]


def test_they_may_name_datasets_and_fits(api: httpx.Client) -> None:
    first = api.post("/v1/fits", json=BODY).json()
    named = {"data": {"dataset": first["dataset"]}}
    going_on = named | {"solver": {"start": {"kind": "fit", "fit": first["id"]}, "seed": 7}}
    fits = [fit | part for fit, part in zip(_fits(3), (named, going_on, named), strict=True)]
    read = [api.get(fit["links"]["self"]).json() for fit in _post(api, fits).json()["fits"]]
    assert {fit["dataset"] for fit in read} == {first["dataset"]}
    assert read[1]["request"]["solver"]["start"] == {"kind": "fit", "fit": first["id"]}


def test_finished_ones_answer_identical_ones_unless_that_is_not_wanted(api: httpx.Client) -> None:
    fits = _fits(3, solver=EXACT)
    first = api.post("/v1/fits", json=fits[1]).json()
    answered = _post(api, [*fits, fits[0]]).json()["fits"]
    assert [(fit["status"], fit["cached"]) for fit in answered] == [
        ("queued", False),
        ("succeeded", True),
        ("queued", False),
        ("queued", False),
    ]
    assert answered[1]["id"] == first["id"]
    assert answered[1]["links"] == first["links"]
    assert len({fit["id"] for fit in answered}) == 4, "two that are identical to each other are two fits"
    [fresh] = _post(api, [fits[1]], cache_control="no-cache").json()["fits"]
    assert (fresh["cached"], fresh["status"]) == (False, "queued")


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"solver": {"epochs": 0}}, "/fits/{}/solver/epochs"),
        ({"solver": {"kind": "magic"}}, "/fits/{}/solver/kind"),
        ({"colour": "red"}, "/fits/{}/colour"),
        ({"data": {"x": [1, 2], "y": [1]}}, "/fits/{}/data/y"),
        ({"model": {"features": ["x1", "q"]}}, "/fits/{}/model/features/1"),
        ({"data": {"dataset": "0" * 64}}, "/fits/{}/data/dataset"),
        ({"solver": {"start": {"kind": "fit", "fit": str(uuid4())}}}, "/fits/{}/solver/start/fit"),
    ],
)
def test_one_that_is_not_valid_keeps_all_from_being_taken_on(
    api: httpx.Client, stored_rows: Callable[[], int], part: dict[str, Any], pointer: str
) -> None:
    fits, before = _fits(20), stored_rows()
    fits[13] |= part
    problem = _post(api, fits, 422).json()
    assert problem["errors"][0]["pointer"] == pointer.format(13)
    assert stored_rows() == before


def test_a_bad_thousandth_keeps_the_others_from_being_taken_on(
    api: httpx.Client, stored_rows: Callable[[], int]
) -> None:
    fits, before = _fits(1000), stored_rows()
    fits[999] |= {"model": {"features": ["z"]}}
    assert _post(api, fits, 422).json()["errors"][0]["pointer"] == "/fits/999/model/features/0"
    fits[999] |= {"model": {"features": 3}, "colour": "red"}
    problem = _post(api, fits, 422).json()
    assert {fault["pointer"] for fault in problem["errors"]} == {"/fits/999/model/features", "/fits/999/colour"}
    assert "labels" in next(fault["allowed"] for fault in problem["errors"] if "colour" in fault["pointer"])
    assert stored_rows() == before


def test_a_thousand_are_taken_on_while_others_are_answered(api: httpx.Client, app: Any, run: Run) -> None:
    fits = _fits(1000)

    async def scenario() -> tuple[httpx.Response, int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            posting = asyncio.create_task(client.post("/v1/fits:batch", json={"fits": fits}))
            others = 0
            while not posting.done():
                assert (await client.get("/health/live")).status_code == 200
                others += 1
                # Without a socket, nothing in that waits for anything.
                await asyncio.sleep(0)
            return await posting, others

    answer, others = run(scenario())
    assert answer.status_code == 202
    assert len({fit["id"] for fit in answer.json()["fits"]}) == 1000
    assert others > 100
    page = api.get(f"/v1/fits?label.run={fits[0]['labels']['run']}&page_size=2").json()["fits"]
    assert [fit["labels"]["n"] for fit in page] == ["999", "998"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/fits"),
        ({"fits": []}, "/fits"),
        ({"fits": 3}, "/fits"),
        ({"fits": [BODY] * 1001}, "/fits"),
        ({"fits": [3, BODY]}, "/fits/0"),
        ({"fits": [BODY, None]}, "/fits/1"),
        ({"fits": [BODY], "labels": {}}, "/labels"),
        ([BODY], ""),
    ],
)
def test_what_is_no_batch_is_refused(api: httpx.Client, body: Any, pointer: str) -> None:
    answer = api.post("/v1/fits:batch", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    fault = answer.json()["errors"][0]
    assert fault["pointer"] == pointer
    assert "openapi" not in fault["allowed"]


def test_a_field_that_is_given_twice_is_found_in_any_of_them(api: httpx.Client) -> None:
    body = json.dumps({"fits": _fits(3)}).replace('"n": "1"', '"n": "1", "n": "1"')
    answer = api.post("/v1/fits:batch", content=body, headers={"content-type": "application/json"})
    assert answer.json()["errors"][0]["pointer"] == "/fits/1/labels/n"


def test_a_batch_that_comes_again_is_answered_again(api: httpx.Client, stored_rows: Callable[[], int]) -> None:
    fits, key = _fits(5, solver=EXACT), uuid4().hex
    first, before = _post(api, fits, idempotency_key=key), stored_rows()
    again = _post(api, fits, idempotency_key=key)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert stored_rows() == before
    assert _post(api, fits[:4], 422, idempotency_key=key).json()["code"] == "idempotency-key-reused"
    assert api.delete(first.json()["fits"][2]["links"]["self"]).status_code == 204
    assert [fit["status"] for fit in _post(api, fits, idempotency_key=key).json()["fits"]].count(None) == 1


def test_of_twenty_batches_at_once_with_one_key_one_is_taken_on(api: httpx.Client, app: Any, run: Run) -> None:
    fits, headers = _fits(10), {"idempotency-key": uuid4().hex}

    async def together() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            post = [client.post("/v1/fits:batch", json={"fits": fits}, headers=headers) for _ in range(20)]
            return await asyncio.gather(*post)

    answers = run(together())
    assert {answer.text for answer in answers} == {answers[0].text}
    listed = api.get(f"/v1/fits?label.run={fits[0]['labels']['run']}").json()["fits"]
    assert len(listed) == 10
