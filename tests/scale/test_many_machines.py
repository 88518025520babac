"""Two APIs and three workers on one database and one store of datasets: each fit run once, and seen from both."""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from service.datasets.store import INLINE_BYTES
from tests.object_store import object_store
from tests.scale.machines import Machines, machines

pytestmark = pytest.mark.long

APIS, WORKERS = 2, 3
PATIENCE = 120.0
#: In the queue, though a process that serves could do it at once; and not from what another test asked.
UNHELD = {"Prefer": "respond-async", "Cache-Control": "no-cache"}
EXACT = {"kind": "exact"}
#: Not plain sgd: that would be there in a moment, in closed form.
SHORT = {"optimizer": {"kind": "adam"}, "epochs": 20_000}
LONG = {"optimizer": {"kind": "adam"}, "epochs": 10_000_000}
ENDLESS = {"optimizer": {"kind": "adam"}, "epochs": 10**11}
LARGE_ROWS = INLINE_BYTES // 16 + 1


@pytest.fixture(scope="module", params=["folder", "s3"])
def there(
    request: pytest.FixtureRequest, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("machines")
    variables = {"PLUMBLINE_DATABASE_URL": database_url, "PLUMBLINE_THREADS": "1"}
    if request.param == "folder":
        (folder / "datasets").mkdir()
        with machines(folder, variables | {"PLUMBLINE_DATASET_STORE": str(folder / "datasets")}, APIS, WORKERS) as all_:
            yield all_
        return
    with object_store() as server:
        variables |= server.variables | {"PLUMBLINE_DATASET_STORE": server.new_bucket()}
        with machines(folder, variables, APIS, WORKERS) as all_:
            yield all_


@pytest.fixture
def clients(there: Machines) -> Iterator[list[httpx.Client]]:
    """One for each API."""
    opened = [httpx.Client(base_url=api.address, timeout=PATIENCE) for api in there.apis]
    yield opened
    for client in opened:
        client.close()


def _data(seed: int, rows: int = 30) -> dict[str, Any]:
    stream = random.Random(seed)
    x = [stream.gauss(0, 1) for _ in range(rows)]
    return {"columns": {"x": x, "y": [2 * value + stream.gauss(0, 1) for value in x]}}


def _submitted(client: httpx.Client, solver: dict[str, Any], data: dict[str, Any]) -> str:
    answer = client.post("/v1/fits", json={"data": data, "solver": solver}, headers=UNHELD)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _finished(client: httpx.Client, fit_id: str) -> dict[str, Any]:
    for _ in range(4):
        fit: dict[str, Any] = client.get(f"/v1/fits/{fit_id}", params={"wait": 30}).json()
        if fit["status"] not in ("queued", "running"):
            return fit
    raise AssertionError(f"not finished in time: {fit}")


def _events(client: httpx.Client, fit_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Every event of a fit until it is over."""
    found, name = [], ""
    with client.stream("GET", f"/v1/fits/{fit_id}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
    return found


def _running(clients: list[httpx.Client], fit_id: str) -> None:
    """Wait until the fit computes, by the events of an API that did not accept it."""
    with clients[1].stream("GET", f"/v1/fits/{fit_id}/events") as answer:
        assert any(line == "event: progress" for line in answer.iter_lines())


def test_every_process_listens_at_its_own_port(there: Machines) -> None:
    assert len({api.address for api in there.apis}) == APIS
    assert all(api.owns_its_port() for api in there.apis)


def test_each_fit_is_run_once_and_is_the_same_from_everywhere(clients: list[httpx.Client], database_url: str) -> None:
    kinds: Iterator[tuple[dict[str, Any], int]] = itertools.cycle([(EXACT, 30), (SHORT, 30), (EXACT, LARGE_ROWS)])
    asked = [(next(kinds), seed, client) for seed, client in zip(range(30), itertools.cycle(clients), strict=False)]
    ids = [_submitted(client, solver, _data(seed, rows)) for (solver, rows), seed, client in asked]
    fits = [_finished(clients[n % 2], fit_id) for n, fit_id in enumerate(ids)]
    others = [_finished(clients[(n + 1) % 2], fit_id) for n, fit_id in enumerate(ids)]
    assert [(fit["status"], fit["attempt"]) for fit in fits] == [("succeeded", 1)] * len(ids)
    assert fits == others
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,)
        stored = connection.execute("SELECT count(*), count(*) FILTER (WHERE body IS NULL) FROM dataset").fetchone()
    assert stored is not None
    assert (stored[0] >= len(ids), stored[1] >= len(ids) // 3) == (True, True)


def test_the_events_of_a_fit_are_seen_from_both(clients: list[httpx.Client]) -> None:
    fit_id = _submitted(clients[0], LONG, _data(100))
    _running(clients, fit_id)
    for client in clients:
        events = _events(client, fit_id)
        statuses = [event["status"] for name, event in events if name == "status"]
        assert {"status", "progress", "points"} <= {name for name, _ in events}
        assert statuses[-1] == "succeeded"
        assert statuses.count("succeeded") == 1


def test_a_cancel_reaches_a_fit_from_the_other_api(clients: list[httpx.Client]) -> None:
    fit_id = _submitted(clients[0], ENDLESS, _data(200))
    _running(clients, fit_id)
    assert clients[1].post(f"/v1/fits/{fit_id}/cancel").status_code == 202
    fit = _finished(clients[0], fit_id)
    assert (fit["status"], fit["result"]["outcome"]["kind"]) == ("cancelled", "cancelled")


def test_what_a_killed_worker_had_is_done_by_the_others(there: Machines, clients: list[httpx.Client]) -> None:
    before = [_submitted(clients[n % 2], LONG, _data(300 + n)) for n in range(WORKERS)]
    for fit_id in before:
        _running(clients, fit_id)
    # Each worker has one of the three.
    there.workers[0].kill()
    after = [_submitted(clients[n % 2], SHORT, _data(400 + n)) for n in range(6)]
    fits = [_finished(clients[0], fit_id) for fit_id in (*before, *after)]
    assert {fit["status"] for fit in fits} == {"succeeded"}
    assert sorted(fit["attempt"] for fit in fits) == [1] * (len(fits) - 1) + [2]
    assert [fit["attempt"] for fit in fits[WORKERS:]] == [1] * len(after)
