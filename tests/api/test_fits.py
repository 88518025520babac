"""Fits over HTTP: submitted, watched, listed. What a worker does is done by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from service.api.waiting import hold
from service.jobs.heart import LOCKS

BODY = {"data": {"x": [1, 2, 3], "y": [1, 2, 4]}}
LATER = {"prefer": "respond-async"}
#: Like it, but for the queue in any case: no closed form.
QUEUED = BODY | {"solver": {"optimizer": {"kind": "adam"}}}
COLUMN_KEYS = {
    "step",
    "epoch",
    "batch",
    "rows",
    "learning_rate",
    "batch_loss",
    "epoch_loss",
    "epoch_rmse",
    "loss",
    "gradient_norm",
    "gap",
    "coefficients",
}
SUMMARY = {
    "target": "y",
    "r_squared": 0.5,
    "adjusted_r_squared": 0.25,
    "residual_sd": 0.1,
    "f": 3.0,
    "f_p": None,
    "log_likelihood": -1.5,
    "aic": 7.0,
    "bic": 8.0,
    "observations": 3,
    "df_model": 1,
    "df_residual": 2,
    "reason": "No f_p.",
}


def _post(api: httpx.Client, **parts: Any) -> dict[str, Any]:
    answer = api.post("/v1/fits", json=BODY | parts, headers=LATER)
    assert answer.status_code == 202, answer.text
    fit: dict[str, Any] = answer.json()
    return fit


def test_a_fit_is_accepted_with_every_default_filled_in(api: httpx.Client) -> None:
    answer = api.post("/v1/fits", json=BODY | {"labels": {"team": "a/b ü"}}, headers=LATER)
    fit = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/fits/{fit['id']}" == fit["links"]["self"]
    assert answer.headers["retry-after"] == "1"
    assert fit["status"] == "queued"
    assert fit["labels"] == {"team": "a/b ü"}
    assert [fit[name] for name in ("result", "error", "progress", "started_at")] == [None] * 4
    assert fit["request"] == {
        "data": {"dataset": fit["dataset"]},
        "model": {"features": ["x1"], "targets": ["y"], "intercept": True, "degree": 1, "weights": None},
        "scaling": {"features": "none", "targets": "none"},
        "loss": "mse",
        "solver": {
            "kind": "descent",
            "backend": "numpy",
            "dtype": "float64",
            "optimizer": {
                "kind": "sgd",
                "learning_rate": 0.01,
                "momentum": 0.0,
                "nesterov": False,
                "weight_decay": None,
                "clipnorm": None,
                "clipvalue": None,
                "global_clipnorm": None,
                "use_ema": False,
                "ema_momentum": 0.99,
                "ema_overwrite_frequency": None,
            },
            "epochs": 100,
            "max_steps": None,
            "batch_size": None,
            "shuffle": False,
            "drop_last": False,
            "seed": 0,
            "start": {"kind": "zeros"},
            "stop": {"gradient_tolerance": None, "loss_tolerance": None, "gap_tolerance": None, "max_seconds": None},
            "penalty": None,
        },
        "inference": {
            "standard_errors": "classical",
            "clusters": None,
            "confidence_level": 0.95,
            "covariance": False,
            "collinearity": False,
        },
        "others": [],
        "explain": [],
        "record": {"every": "epoch", "coefficients": True, "limit": 10000},
        "labels": {"team": "a/b ü"},
        "priority": 0,
    }
    assert fit["cached"] is False


def test_the_echo_asks_for_the_same_fit(api: httpx.Client) -> None:
    start = {"kind": "values", "coefficients": [0.5], "intercept": 1}
    first = _post(api, solver={"optimizer": {"kind": "rmsprop"}, "start": start, "max_steps": 7, "batch_size": 2})
    again = api.post("/v1/fits", json=first["request"]).json()
    assert again["request"] == first["request"]
    assert again["dataset"] == first["dataset"]
    assert first["request"]["solver"]["start"]["coefficients"] == [[0.5]]
    assert first["request"]["solver"]["start"]["intercept"] == [1.0]


def test_a_case_stays_a_case(api: httpx.Client) -> None:
    fit = _post(api, data={"case": "tiny-scale"})
    assert fit["request"]["data"] == {"case": "tiny-scale"}
    assert len(fit["dataset"]) == 64


@pytest.mark.parametrize(
    ("given", "epochs"), [({"max_steps": 7}, 4), ({"max_steps": 7, "epochs": 3}, 3), ({"max_steps": 8}, 4), ({}, 100)]
)
def test_max_steps_alone_decides_the_epochs(api: httpx.Client, given: dict[str, int], epochs: int) -> None:
    fit = _post(api, solver={"batch_size": 2, **given})
    assert fit["request"]["solver"]["epochs"] == epochs


def test_a_finished_fit_is_all_there(api: httpx.Client, finish: Callable[..., None]) -> None:
    fit_id = _post(api)["id"]
    finish(fit_id, 3)
    fit = api.get(f"/v1/fits/{fit_id}").json()
    assert fit["status"] == "succeeded"
    assert fit["progress"] == {
        **{"steps_done": 3, "steps_total": 3, "epochs_done": 3, "loss": 0.5},
        **{"excess": None, "steps_per_second": None, "seconds_left": None},
    }
    result = fit["result"]
    assert result["engine"] == "numpy_rows"
    assert result["outcome"] == {"kind": "step_limit", "message": "All done.", "steps": 3, "epochs": 3, "iterations": 0}
    assert result["reference"] == {
        "objective": "ridge",
        "method": "householder_qr_least_norm",
        "rank": 1,
        "parameters": 2,
        "rank_tolerance": 1e-13,
        "condition_number": None,
        "certified_digits": 15.5,
        "null_directions": [{"name": "x = 2", "terms": {"(intercept)": 2.0, 'x "quoted", even': -1.0}}],
    }
    assert result["coefficients"][0] == {
        "target": "y",
        "term": "(intercept)",
        "estimate": 1.5,
        "reference": 1.25,
        "difference": 0.25,
        "matching_digits": 0.7,
        "identified": True,
        "scaled_estimate": 1.5,
        "unpenalised": 1.75,
        "std_error": None,
        "t": None,
        "p": None,
        "ci_low": None,
        "ci_high": None,
    }
    assert result["summary"] == [SUMMARY]
    assert result["inference"] == {
        "standard_errors": "hc3",
        "confidence_level": 0.9,
        "df": 2,
        "reason": "Penalised.",
    }
    assert result["covariance"][0]["matrix"] == [[1.0, None], [None, 2.0]]
    assert result["collinearity"] == {
        "terms": ["a", "b"],
        "variance_inflation": [None, 1.5],
        "condition_indices": [1.0, None],
        "variance_proportions": [[0.25, 0.5], [0.75, 0.5]],
    }
    [other] = result["others"]
    assert (other["name"], other["emulated"], other["rank"]) == ("r", True, None)
    assert other["coefficients"] == [
        {"target": "y", "term": "x", "estimate": None, "difference": None, "matching_digits": None}
    ]
    trajectory = result["trajectory"]
    assert (trajectory["recorded"], trajectory["total_steps"]) == (4, 3)
    assert trajectory["href"] == fit["links"]["trajectory"]
    assert trajectory["columns"].keys() == COLUMN_KEYS
    assert trajectory["columns"]["batch_loss"] == [None, 1.0, 2.0, 3.0]
    assert trajectory["columns"]["coefficients"]["y"]["(intercept)"] == [0.0, 1.0, 2.0, 3.0]


def test_an_exact_fit_has_no_trajectory(api: httpx.Client) -> None:
    result = api.post("/v1/fits", json=BODY | {"solver": {"kind": "exact"}}).json()["result"]
    assert result["outcome"]["kind"] == "exact"
    assert result["trajectory"] is None
    assert result["loss"]["initial"] is None


@pytest.mark.parametrize(("steps", "inline"), [(999, True), (1000, False)])
def test_a_long_trajectory_is_only_linked(
    api: httpx.Client, finish: Callable[..., None], steps: int, inline: bool
) -> None:
    fit_id = _post(api)["id"]
    finish(fit_id, steps)
    trajectory = api.get(f"/v1/fits/{fit_id}").json()["result"]["trajectory"]
    assert trajectory["recorded"] == steps + 1
    assert (trajectory["columns"] is not None) == inline


def test_a_failed_fit_says_why(api: httpx.Client, fail: Callable[[str], None]) -> None:
    fit_id = _post(api)["id"]
    fail(fit_id)
    fit = api.get(f"/v1/fits/{fit_id}").json()
    assert (fit["status"], fit["result"]) == ("failed", None)
    assert fit["error"] == {"code": "crashed", "message": "The child crashed three times."}
    assert api.get(fit["links"]["trajectory"]).status_code == 404


def test_an_unchanged_fit_is_not_sent_again(api: httpx.Client, finish: Callable[..., None]) -> None:
    fit_id = _post(api)["id"]
    first = api.get(f"/v1/fits/{fit_id}")
    tag = first.headers["etag"]
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = api.get(f"/v1/fits/{fit_id}", headers={"if-none-match": header})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    finish(fit_id, 2)
    changed = api.get(f"/v1/fits/{fit_id}", headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    assert "retry-after" in first.headers
    assert "retry-after" not in changed.headers


def test_head_is_get_without_the_body(api: httpx.Client) -> None:
    path = _post(api)["links"]["self"]
    head, get = api.head(path), api.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers
    assert api.head("/v1/fits/nothing").status_code == 404


@pytest.mark.parametrize("path", [f"/v1/fits/{uuid4()}", "/v1/fits/17", f"/v1/fits/{uuid4()}/trajectory", "/v1/fit"])
def test_what_is_not_there_is_not_found(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"
    assert answer.json()["errors"] == []


# Waiting.


def test_prefer_wait_is_bounded_and_said_to_be_applied(api: httpx.Client) -> None:
    started = time.monotonic()
    answer = api.post("/v1/fits", json=QUEUED, headers={"prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    assert 0.9 < time.monotonic() - started < 2.5


def test_a_wait_is_capped_by_the_settings(api: httpx.Client) -> None:
    started = time.monotonic()
    answer = api.post("/v1/fits", json=QUEUED, headers={"prefer": "wait=100000"})
    assert answer.headers["preference-applied"] == "wait=3"
    assert time.monotonic() - started < 5


def test_respond_async_never_waits(api: httpx.Client) -> None:
    started = time.monotonic()
    answer = api.post("/v1/fits", json=QUEUED, headers={"prefer": "wait=3, respond-async"})
    assert answer.headers["preference-applied"] == "respond-async"
    assert time.monotonic() - started < 1


def test_a_held_answer_comes_with_the_end(
    app: Any, run: Callable[[Any], Any], finish_on_loop: Callable[[str], Any]
) -> None:
    label = uuid4().hex
    body = QUEUED | {"labels": {"run": label}}

    async def scenario() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            posting = asyncio.create_task(client.post("/v1/fits", json=body, headers={"prefer": "wait=3"}))
            fit_id = await _found(client, label)
            watching = asyncio.create_task(client.get(f"/v1/fits/{fit_id}?wait=3"))
            await asyncio.sleep(0.1)
            assert not posting.done()
            await finish_on_loop(fit_id)
            return await posting, await watching

    posted, watched = run(scenario())
    assert (posted.status_code, watched.status_code) == (201, 200)
    assert posted.json() == watched.json()
    assert posted.json()["status"] == "succeeded"
    assert "retry-after" not in posted.headers


async def _found(client: httpx.AsyncClient, label: str) -> str:
    async with asyncio.timeout(10):
        while not (fits := (await client.get(f"/v1/fits?label.run={label}")).json()["fits"]):
            pass
    return str(fits[0]["id"])


@pytest.mark.parametrize("reason", ["the client is gone", "the service stops"])
def test_waiting_ends_early_and_leaves_nothing_behind(
    app: Any, services: Any, run: Callable[[Any], Any], api: httpx.Client, reason: str
) -> None:
    fit_id = _post(api)["id"]

    class Held:
        """As much of a request as holding needs."""

        def __init__(self) -> None:
            self.app = app

        async def receive(self) -> dict[str, str]:
            if reason == "the service stops":
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

    async def scenario() -> float:
        tasks = asyncio.all_tasks()
        if reason == "the service stops":
            asyncio.get_running_loop().call_later(0.05, app.state.closing.set)
        started = time.monotonic()
        record = await hold(Held(), fit_id, 3.0)  # type: ignore[arg-type]
        assert record is not None
        assert asyncio.all_tasks() == tasks
        assert services.notices._waiting == {}
        return time.monotonic() - started

    try:
        assert run(scenario()) < 1
    finally:
        app.state.closing.clear()


# Listing.


def test_fits_are_listed_newest_first_page_by_page(api: httpx.Client) -> None:
    label = uuid4().hex
    made = [_post(api, labels={"run": label, "n": str(n)})["id"] for n in range(5)]
    path, token, seen, pages = f"/v1/fits?label.run={label}&page_size=2", "", [], 0
    while token is not None:
        page = api.get(path + (f"&page_token={token}" if token else "")).json()
        assert page.keys() == {"fits", "next_page_token"}
        seen += [fit["id"] for fit in page["fits"]]
        token, pages = page["next_page_token"], pages + 1
    assert seen == made[::-1]
    assert pages == 3


def test_fits_are_found_by_status_and_labels(api: httpx.Client, finish: Callable[..., None]) -> None:
    label = uuid4().hex
    one, two = (_post(api, labels={"run": label, "n/m": n})["id"] for n in ("1", "2"))
    finish(one, 2)

    def found(query: str) -> list[str]:
        return [fit["id"] for fit in api.get(f"/v1/fits?label.run={label}{query}").json()["fits"]]

    assert found("") == [two, one]
    assert found("&status=succeeded") == [one]
    assert found("&status=queued") == [two]
    assert found("&label.n/m=2") == [two]
    assert found("&label.n/m=1&status=queued") == []
    assert found("&label.other=1") == []


def test_a_list_leaves_the_columns_out(api: httpx.Client, finish: Callable[..., None]) -> None:
    label = uuid4().hex
    finish(_post(api, labels={"run": label})["id"], 2)
    [fit] = api.get(f"/v1/fits?label.run={label}").json()["fits"]
    assert fit["result"]["trajectory"]["recorded"] == 3
    assert fit["result"]["trajectory"]["columns"] is None


# The rest of the house.


def test_cases_are_listed_and_ready_to_send(api: httpx.Client) -> None:
    cases = api.get("/v1/cases").json()["cases"]
    names = [case["name"] for case in cases]
    assert {"tiny-scale", "collinear", "single-sample", "every-iteration", "broadcast"} == set(names)
    for case in cases:
        assert api.get(f"/v1/cases/{case['name']}").json() == case
        assert case["question"]
        assert case["requests"]
    assert "tiny-scale" in api.get("/v1/cases/other").json()["detail"]


@pytest.mark.parametrize("name", ["tiny-scale", "single-sample", "every-iteration", "broadcast", "collinear"])
def test_every_request_of_a_case_is_accepted(api: httpx.Client, name: str) -> None:
    for request in api.get(f"/v1/cases/{name}").json()["requests"]:
        assert api.post("/v1/fits", json=request["body"], headers=LATER).status_code == 202


def test_health(api: httpx.Client, services: Any) -> None:
    assert api.get("/health/live").json() == {"status": "live"}
    answer = api.get("/health/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert "worker" in answer.json()["detail"]
    assert answer.headers["retry-after"]

    with psycopg.connect(services.settings.database_url) as worker:
        row = worker.execute("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id").fetchone()
        assert row is not None
        worker.execute("SELECT pg_advisory_lock_shared(%s, %s)", [LOCKS, int(row[0])])
        worker.commit()
        assert api.get("/health/ready").json() == {"status": "ready", "workers": 1}
