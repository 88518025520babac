"""Small fits over HTTP: finished when they are answered, and in all else like those of the queue."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from service.api import accepting
from service.bootstrap import Services
from service.jobs.answering import answer
from service.jobs.attempts import Attempts
from service.jobs.messages import Order, Solved
from service.jobs.records import TASK
from tests.conftest import Outage

BODY: dict[str, Any] = {"data": {"x": [1, 2, 3, 4], "y": [1, 2, 4, 3]}, "solver": {"kind": "exact"}}
LATER = {"prefer": "respond-async"}

Run = Callable[[Any], Any]


def _posted(api: httpx.Client, status: int = 201, headers: dict[str, str] | None = None, **parts: Any) -> Any:
    sent = api.post("/v1/fits", json=BODY | parts, headers=headers)
    assert sent.status_code == status, sent.text
    return sent


def test_it_is_finished_when_it_is_answered(api: httpx.Client) -> None:
    answered = _posted(api)
    fit = answered.json()
    assert answered.headers["location"] == fit["links"]["self"]
    assert not {"retry-after", "preference-applied"} & answered.headers.keys()
    assert (fit["status"], fit["attempt"], fit["error"], fit["progress"]) == ("succeeded", 1, None, None)
    assert fit["started_at"] == fit["finished_at"]
    assert [round(item["estimate"], 12) for item in fit["result"]["coefficients"]] == [0.5, 0.8]


def test_it_is_a_fit_like_any_other(api: httpx.Client) -> None:
    label = uuid4().hex
    fit = _posted(api, labels={"run": label}).json()
    path = fit["links"]["self"]
    read = api.get(path)
    assert read.json() == fit
    assert api.get(path, headers={"if-none-match": read.headers["etag"]}).status_code == 304
    assert api.get(f"/v1/fits?label.run={label}&status=succeeded").json()["fits"] == [fit]
    assert api.get(fit["links"]["trajectory"]).json()["recorded"] == 0
    again = api.post("/v1/fits", json=fit["request"]).json()
    assert (again["dataset"], again["result"]) == (fit["dataset"], fit["result"])
    assert again["id"] != fit["id"]


def test_a_small_descent_is_finished_with_its_trajectory(api: httpx.Client) -> None:
    fit = _posted(api, solver={"epochs": 1000}).json()
    assert (fit["status"], fit["result"]["engine"]) == ("succeeded", "numpy_closed_form")
    assert (fit["progress"]["steps_done"], fit["result"]["trajectory"]["recorded"]) == (1000, 1001)
    columns = api.get(fit["links"]["trajectory"]).json()["columns"]
    assert columns["step"] == list(range(1001))
    assert columns["loss"][-1] == fit["result"]["loss"]["final"]
    # What the parts of one statement share by name would be mixed up.
    again = api.post("/v1/fits", json=fit["request"] | {"solver": {"kind": "exact"}}).json()
    assert again["result"]["reference"] == fit["result"]["reference"]
    assert again["dataset"] == fit["dataset"]


def test_a_wait_is_over_at_once(api: httpx.Client) -> None:
    assert _posted(api, headers={"prefer": "wait=2"}).headers["preference-applied"] == "wait=2"


@pytest.mark.parametrize(
    ("headers", "parts"),
    [
        (LATER, {}),
        (None, {"others": ["numpy"]}),
        (None, {"data": {"x": list(range(20_000)), "y": list(range(20_000))}}),
        (None, {"solver": {"optimizer": {"kind": "adam"}}}),
        (None, {"solver": {"stop": {"gap_tolerance": 1e-6}}}),
    ],
    ids=["respond-async", "others", "large", "adam", "watched"],
)
def test_what_is_not_small_or_not_in_a_hurry_is_queued(
    api: httpx.Client, headers: dict[str, str] | None, parts: dict[str, Any]
) -> None:
    answered = _posted(api, 202, headers, **parts)
    assert answered.json()["status"] == "queued"
    assert answered.headers["retry-after"]


def test_one_descent_at_a_time_is_solved_at_once(api: httpx.Client, app: Any, run: Run) -> None:
    descent = {"epochs": 5}
    run(app.state.descending.acquire())
    try:
        _posted(api, 202, solver=descent)
        _posted(api, 201)
    finally:
        app.state.descending.release()
    _posted(api, 201, solver=descent)


@pytest.mark.parametrize(
    "solver",
    [{"kind": "exact"}, {"epochs": 20, "batch_size": 2}, {"optimizer": {"momentum": 0.9}}, {"epochs": 1000}],
    ids=["exact", "batches", "momentum", "arrived"],
)
def test_the_queue_comes_to_the_same(api: httpx.Client, services: Services, run: Run, solver: dict[str, Any]) -> None:
    at_once, queued = (_posted(api, *how, solver=solver).json() for how in ((201,), (202, LATER)))
    run(_work(services, UUID(queued["id"])))
    at_once, queued = (_comparable(fit) for fit in (at_once, api.get(queued["links"]["self"]).json()))
    # The child's compiled sums may end in other digits.
    assert _numbers(at_once) == pytest.approx(_numbers(queued), rel=1e-12, abs=1e-12)
    assert _texts(at_once) == _texts(queued)


def _comparable(fit: dict[str, Any]) -> Any:
    """Without times, and with all paths as if it had no id."""
    times = ("created_at", "started_at", "finished_at")
    return json.loads(
        json.dumps({name: part for name, part in fit.items() if name not in times}).replace(fit["id"], "")
    )


def _numbers(part: Any) -> list[float]:
    return [leaf for leaf in _leaves(part) if isinstance(leaf, float)]


def _texts(part: Any) -> list[Any]:
    return [leaf for leaf in _leaves(part) if not isinstance(leaf, float)]


def _leaves(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return [leaf for name, inner in part.items() for leaf in (name, *_leaves(inner))]
    return [leaf for inner in part for leaf in _leaves(inner)] if isinstance(part, list) else [part]


async def _work(services: Services, fit_id: UUID) -> None:
    """Do a worker's part, and its child's."""
    async with services.pool.connection() as connection:
        [row] = await (await connection.execute("SELECT job_id FROM fit WHERE id = %s", [fit_id])).fetchall()
    attempts = Attempts(services.pool, 3)
    attempt = await attempts.begin(fit_id, row["job_id"])
    assert attempt is not None
    dataset = await services.datasets.get(attempt.dataset_id)
    assert dataset is not None
    solved = answer(Order(TASK.decode(attempt.task), dataset), lambda _: None)
    assert isinstance(solved, Solved)
    assert await attempts.succeed(attempt, solved)


def test_a_fault_of_ours_stores_nothing(
    api: httpx.Client, stored_rows: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise FloatingPointError

    before = stored_rows()
    monkeypatch.setattr(accepting, "solve_at_once", broken)
    refused = _posted(api, 500, data={"x": [7, 8], "y": [1, 2]})
    assert refused.json()["code"] == "internal"
    assert stored_rows() == before


def test_what_cannot_be_fitted_stores_nothing(api: httpx.Client, stored_rows: Callable[[], int]) -> None:
    before = stored_rows()
    model = {"intercept": False}
    refused = _posted(api, 422, data={"x": [8, 9], "y": [1, 2]}, model=model, scaling={"features": "minmax"})
    assert refused.json()["errors"][0]["pointer"] == "/scaling/features"
    assert stored_rows() == before


def test_without_a_database_nothing_is_answered_and_nothing_half_stored(
    api: httpx.Client, stored_rows: Callable[[], int], outage: Outage
) -> None:
    before = stored_rows()
    with outage():
        refused = _posted(api, 503, data={"x": [9, 10], "y": [1, 2]})
    assert refused.headers["retry-after"]
    assert stored_rows() == before
    _posted(api, data={"x": [9, 10], "y": [1, 2]})


def test_a_connection_that_the_database_closed_is_no_business_of_a_client(api: httpx.Client, database_url: str) -> None:
    _posted(api)
    with psycopg.connect(database_url, autocommit=True) as connection:
        closed = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert len(closed) >= 2, "the pool's, and the one that listens"
    _posted(api)
