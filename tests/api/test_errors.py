"""Every exception has its answer, and every answer the same form."""

import ast
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import psycopg_pool
import pytest
from procrastinate.exceptions import ConnectorException

from service.api import errors
from service.api.app import create_app
from service.bootstrap import open_services
from service.settings import Settings

SERVICE = Path(errors.__file__).parent.parent

#: Exceptions of the rooms below the API that no request meets, and who deals with them.
ELSEWHERE = {
    "FittingError": "the tree's root, never raised",
    "Refusal": "the tree's root, never raised",
    "AttemptLost": "the worker",
    "Overdue": "the worker",
    "StoreUnusable": "the entry points",
    "KeyTaken": "the store of fits",
    "PartGone": "whoever reads a trajectory",
    "TooMuchWork": "solving at once",
    "FitProcessError": "the worker",
    "ChildCrashed": "the worker",
    "FitBroke": "the worker",
    "DatabaseError": "the supervisor",
    "BundledDatabaseError": "the supervisor",
    "DatabaseUnreachableError": "the supervisor",
    "DatabaseUnsuitableError": "the supervisor",
}
ROOMS = ("fitting", "datasets", "jobs", "database", "api")


def _exceptions() -> dict[str, set[str]]:
    """Every exception class of the rooms below the API, with its bases."""
    classes = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for room in ROOMS
        for path in (SERVICE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    found = {"Exception"}
    while more := {name for name, bases in classes.items() if bases & found} - found:
        found |= more
    return {name: classes[name] for name in found - {"Exception"}}


def test_the_table_is_total() -> None:
    exceptions = _exceptions()
    assert len(exceptions) > 10
    answered = {kind.__name__ for kind in errors.TABLE}
    for name, bases in exceptions.items():
        assert name in ELSEWHERE or name in answered or bases & answered, f"{name} has no row in the table"
    assert exceptions.keys() >= ELSEWHERE.keys()


def test_codes_and_titles_tell_kinds_apart() -> None:
    rows = set(errors.TABLE.values())
    titles = {row.code: row.title for row in rows}
    assert len({(row.code, row.status, row.title) for row in rows}) == len(titles)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.errors.AdminShutdown(), "database-unavailable"),
        (psycopg.errors.CannotConnectNow(), "database-unavailable"),
        (psycopg.errors.TooManyConnections(), "database-unavailable"),
        (psycopg.errors.OutOfMemory(), "database-unavailable"),
        (psycopg.errors.IoError(), "database-unavailable"),
        (psycopg_pool.PoolTimeout(), "database-unavailable"),
        (psycopg.errors.ReadOnlySqlTransaction(), "database-read-only"),
        (psycopg.errors.DiskFull(), "storage-full"),
    ],
)
def test_a_database_that_cannot_do_its_part_is_nobodys_mistake(error: Exception, code: str) -> None:
    by_way_of_the_queue = ConnectorException()
    by_way_of_the_queue.__cause__ = error
    for told in (error, by_way_of_the_queue):
        answer = errors.answer_to(told)
        assert (answer.status, answer.code) == (503, code)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/fits", "GET, HEAD, POST"),
        ("DELETE", "/v1/fits", "GET, HEAD, POST"),
        ("POST", "/v1/fits/0", "DELETE, GET, HEAD"),
        ("POST", "/v1/cases", "GET, HEAD"),
        ("PATCH", "/health/live", "GET, HEAD"),
        ("BREW", "/v1/fits", "GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_told_all_right_ones(api: httpx.Client, method: str, path: str, allow: str) -> None:
    answer = api.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert answer.headers["content-type"] == errors.MEDIA_TYPE
    assert answer.json()["code"] == "method-not-allowed"


def test_an_unknown_path_is_a_problem(api: httpx.Client) -> None:
    for path in ("/", "/v1", "/v1/fits/", "/v2/fits", "/%00"):
        answer = api.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, errors.MEDIA_TYPE)


@pytest.mark.parametrize("path", ["/v1/cases/%00", "/v1/cases/a%20b%0Ac", "/v1/cases/a%2Fb", "/v1/cases/%FF"])
def test_the_instance_is_the_path_as_it_was_sent(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()["instance"]) == (404, path)


def test_a_long_path_is_not_repeated_at_length(api: httpx.Client) -> None:
    answer = api.get("/v1/cases/" + "a" * 50_000)
    assert answer.status_code == 404
    assert len(answer.content) < 2000


def test_whoever_waits_to_be_asked_for_a_body_and_is_not_is_let_go(api: httpx.Client) -> None:
    headers = {"expect": "100-continue", "content-type": "text/plain"}
    answer = api.post("/v1/fits", content=b"{}", headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (415, "close")


def test_a_fault_of_ours_is_an_incident(
    api: httpx.Client, services: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(services.fits, "page", broken)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/v1/fits")
    assert (answer.status_code, answer.headers["content-type"]) == (500, errors.MEDIA_TYPE)
    assert "hunter2" not in answer.text
    assert answer.json()["instance"] == "/v1/fits"
    problem = answer.json()
    assert problem["code"] == "internal"
    incident = problem["detail"].removesuffix(".").rsplit(" ", 1)[1]
    assert len(incident) == 36
    [record] = [record for record in caplog.records if incident in record.getMessage()]
    assert record.exc_info is not None


def test_an_accepted_fit_is_told_so_even_if_the_database_goes_away(
    api: httpx.Client, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> None:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(services.notices, "wait", gone)
    body = {"data": {"x": [1, 2], "y": [1, 2]}, "solver": {"optimizer": {"kind": "adam"}}}
    answer = api.post("/v1/fits", json=body, headers={"prefer": "wait=2"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


def test_a_database_that_is_away_is_said_to_be(run: Callable[[Any], Any], caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[httpx.Response]:
        settings = Settings(database_url="postgresql://127.0.0.1:1/nothing")
        async with open_services(settings) as away:
            transport = httpx.ASGITransport(create_app(away))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [await client.get(path, timeout=20) for path in ("/v1/fits", "/health/ready", "/health/live")]

    with caplog.at_level(logging.INFO):
        fits, ready, live = run(scenario())
    assert (fits.status_code, fits.json()["code"]) == (503, "database-unavailable")
    assert (ready.status_code, ready.json()["code"]) == (503, "not-ready")
    assert "database" in ready.json()["detail"]
    assert fits.headers["retry-after"]
    assert ready.headers["retry-after"]
    assert live.status_code == 200
    # Once for the request that could not be answered; the question whether we are ready has been.
    [told] = [record for record in caplog.records if record.name.startswith("service.api")]
    assert "/v1/fits" in told.getMessage()
    [told] = [record for record in caplog.records if record.name == "service.jobs.notices"]
