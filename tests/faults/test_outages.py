"""What a service says while it cannot work, and that it works again afterwards by itself, with nothing lost."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.conftest import Outage
from tests.faults.whole_service import PATIENCE, WholeService, reachable_temporary_folder, until, whole_service

pytestmark = pytest.mark.long

DATA = {"x": [1.0, 2.0, 3.0, 5.0], "y": [1.0, 2.0, 4.0, 4.0]}
SMALL = {"data": DATA, "solver": {"kind": "exact"}}
#: Runs until it is told to stop, and has an answer then.
ENDLESS = {"data": DATA, "solver": {"kind": "descent", "optimizer": {"kind": "adam"}, "epochs": 10**11}}
#: An answer has to be there by then, whatever the database does.
BOUND = 30.0


@pytest.fixture(scope="module")
def service() -> Iterator[WholeService]:
    """One service of two workers on the bundled database."""
    with (
        reachable_temporary_folder() as folder,
        whole_service(folder, WORKERS="2", GRACE_SECONDS="1", DATASET_STORE=str(folder / "store")) as service,
    ):
        yield service


@pytest.fixture
def client(service: WholeService) -> Iterator[httpx.Client]:
    """A client of it, after whom there is nothing left to do."""
    with httpx.Client(base_url=service.address, timeout=BOUND) as client:
        yield client
        for [fit_id] in service.query("SELECT id FROM fit WHERE finished_at IS NULL"):
            client.post(f"/v1/fits/{fit_id}/cancel")
        until(lambda: service.query("SELECT 1 WHERE NOT EXISTS (SELECT FROM fit WHERE finished_at IS NULL)") or None)


def _post(client: httpx.Client, body: dict[str, Any]) -> str:
    answer = client.post("/v1/fits", json=body, headers={"Prefer": "respond-async", "Cache-Control": "no-cache"})
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def _fit(client: httpx.Client, fit_id: str) -> dict[str, Any]:
    answer = client.get(f"/v1/fits/{fit_id}")
    assert answer.is_success, answer.text
    fit: dict[str, Any] = answer.json()
    return fit


def _until(client: httpx.Client, fit_id: str, *wanted: str) -> dict[str, Any]:
    def asked() -> dict[str, Any] | None:
        fit = _fit(client, fit_id)
        return fit if fit["status"] in wanted else None

    return until(asked)


def _until_computing(client: httpx.Client, fit_id: str, attempt: int = 1) -> dict[str, Any]:
    def asked() -> dict[str, Any] | None:
        fit = _fit(client, fit_id)
        return fit if fit["progress"] is not None and fit["attempt"] >= attempt else None

    return until(asked)


def _until_ready(client: httpx.Client) -> None:
    until(lambda: client.get("/health/ready").is_success or None)


def _is_unavailable(answer: httpx.Response, code: str) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"].isdigit()
    assert answer.json()["code"] == code


def _stop_at_last(client: httpx.Client, fit_id: str) -> None:
    assert client.post(f"/v1/fits/{fit_id}/cancel").status_code == 202
    fit = _until(client, fit_id, "cancelled")
    assert fit["result"]["outcome"]["kind"] == "cancelled"


@contextlib.contextmanager
def _suspended(processes: list[psutil.Process]) -> Iterator[None]:
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_a_database_that_hangs(service: WholeService, client: httpx.Client) -> None:
    processes = {process.pid for process in service.family() if "postgres" not in process.name()}
    running = _post(client, ENDLESS)
    _until_computing(client, running)
    with _suspended([process for process in service.family() if process.name() == "postgres"]):
        with ThreadPoolExecutor(40) as threads:
            # More than there are connections: those that wait for one are answered too.
            asked = [threads.submit(client.post, "/v1/fits", json=SMALL) for _ in range(40)]
            for answer in asked:
                _is_unavailable(answer.result(), "database-unavailable")
        _is_unavailable(client.get(f"/v1/fits/{running}"), "database-unavailable")
        _is_unavailable(client.get("/health/ready"), "not-ready")
        assert client.get("/health/live").is_success
    _until_ready(client)
    assert _until(client, _post(client, SMALL), "succeeded")["attempt"] == 1
    # Whoever was at work still is.
    assert _fit(client, running)["attempt"] == 1
    _stop_at_last(client, running)
    assert processes <= {process.pid for process in service.family()}


def test_a_database_that_can_only_be_read(service: WholeService, client: httpx.Client) -> None:
    done = _until(client, _post(client, SMALL), "succeeded")
    running = _post(client, ENDLESS)
    _until_computing(client, running)
    service.query("ALTER SYSTEM SET default_transaction_read_only = on")
    service.query("SELECT pg_reload_conf()")
    try:
        refused = until(lambda: _refused(client))
        _is_unavailable(refused, "database-read-only")
        assert _fit(client, done["id"]) == done
    finally:
        service.query("ALTER SYSTEM RESET default_transaction_read_only")
        service.query("SELECT pg_reload_conf()")
    until(lambda: client.post("/v1/fits", json=SMALL).is_success or None)
    assert _until(client, _post(client, SMALL), "succeeded")["attempt"] == 1
    assert _fit(client, running)["attempt"] == 1
    _stop_at_last(client, running)


def _refused(client: httpx.Client, body: dict[str, Any] = SMALL) -> httpx.Response | None:
    # Each connection of the pool hears of it for itself.
    answer = client.post("/v1/fits", json=body, headers={"Cache-Control": "no-cache"})
    return None if answer.is_success else answer


def test_a_worker_that_was_taken_for_dead_comes_back_too_late(service: WholeService, client: httpx.Client) -> None:
    running = _post(client, ENDLESS)
    _until_computing(client, running)
    worker = psutil.Process(service.busy_child().ppid())
    with _suspended([worker]):
        _until_computing(client, running, attempt=2)
    _stop_at_last(client, running)
    until(lambda: f"Fit {running} is no longer this worker's" in service.log.read_text() or None)
    fit = _fit(client, running)
    assert (fit["status"], fit["attempt"]) == ("cancelled", 2)
    assert worker.is_running()


def test_a_fit_whose_process_crashes_three_times_fails_with_the_reason(
    service: WholeService, client: httpx.Client
) -> None:
    doomed = _post(client, ENDLESS)
    for attempt in (1, 2, 3):
        _until_computing(client, doomed, attempt)
        service.busy_child().kill()
    fit = _until(client, doomed, "failed")
    assert fit["error"]["code"] == "crashed"
    assert "SIGKILL" in fit["error"]["message"]
    assert "3 attempts" in fit["error"]["message"]
    assert fit["result"] is None


def test_a_stop_drains_and_leaves_nothing_behind(service: WholeService, client: httpx.Client) -> None:
    running = _post(client, ENDLESS)
    _until_computing(client, running)
    waiting = [_post(client, ENDLESS | {"priority": -1}) for _ in range(2)]
    with ThreadPoolExecutor(1) as threads:
        watching = threads.submit(_watch, client, running)
        until(lambda: service.query("SELECT count(*) FROM fit WHERE status = 'running' HAVING count(*) = 2") or None)
        assert service.stop() == 0
        assert "event: progress" in watching.result()
    assert service.left_behind() == []
    assert service.temporary_files() == []
    assert service.lock() == ""
    service.start()
    for fit_id in (running, *waiting):
        # As if the attempt had not been.
        assert _until_computing(client, fit_id)["attempt"] == 1
        _stop_at_last(client, fit_id)
    assert "Traceback" not in service.log.read_text()


def _watch(client: httpx.Client, fit_id: str) -> str:
    """All events of a fit until the service ends them."""
    with (
        client.stream("GET", f"/v1/fits/{fit_id}/events", timeout=PATIENCE) as events,
        contextlib.suppress(httpx.HTTPError),
    ):
        return "".join(events.iter_text())
    return ""


def test_a_store_of_datasets_that_is_away(service: WholeService, client: httpx.Client) -> None:
    large = _large(1)
    done = _until(client, _post(client, large), "succeeded")
    busy = [_post(client, ENDLESS) for _ in range(2)]
    for fit_id in busy:
        _until_computing(client, fit_id)
    waiting, damaged = _post(client, _large(2)), _post(client, _large(3))
    away = service.store.rename(service.store.with_name("away"))
    _is_unavailable(client.post("/v1/fits", json=_large(4)), "store-unavailable")
    for fit_id in busy:
        _stop_at_last(client, fit_id)
    until(lambda: "Waiting for database and store" in service.log.read_text() or None)
    [file] = away.rglob(_fit(client, damaged)["request"]["data"]["dataset"])
    file.unlink()
    away.rename(service.store)
    assert _until(client, waiting, "succeeded", "failed")["attempt"] == 1
    lost = _until(client, damaged, "succeeded", "failed")
    assert lost["error"]["code"] == "dataset_damaged"
    assert _fit(client, done["id"]) == done


def _large(seed: int) -> dict[str, Any]:
    """A fit of so much data that they do not go into a row."""
    rows = 20_000
    data = {"x": [float(row % 97 + seed) for row in range(rows)], "y": [float(row % 89) for row in range(rows)]}
    return {"data": data, "solver": {"kind": "exact"}}


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of its own that has little room."""
    with reachable_temporary_folder() as folder:
        disk = folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0711", "tmpfs", disk],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode != 0:
            pytest.skip(f"this user may not mount a disk: {mounted.stderr.strip()}")
        try:
            yield disk
        finally:
            subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_full_and_then_only_readable(small_disk: Path) -> None:
    with (
        reachable_temporary_folder() as folder,
        whole_service(folder, DATA_DIR=str(small_disk / "data")) as service,
        httpx.Client(base_url=service.address, timeout=BOUND) as client,
    ):
        running = _post(client, ENDLESS)
        _until_computing(client, running)
        waiting = _post(client, SMALL)
        processes = {process.pid for process in service.family() if "postgres" not in process.name()}
        ballast = small_disk / "ballast"
        _fill(small_disk, ballast)
        _is_unavailable(until(lambda: _refused(client, _large(1))), "storage-full")
        _use_up_log(service)
        until(lambda: "there is no room left on its disk" in service.log.read_text() or None)
        _is_unavailable(client.post("/v1/fits", json=SMALL), "database-unavailable")
        _is_unavailable(client.get(f"/v1/fits/{running}"), "database-unavailable")
        ballast.unlink()
        until(lambda: client.get("/health/ready").is_success or None)
        assert processes <= {process.pid for process in service.family()}
        assert _fit(client, running)["attempt"] == 1
        _stop_at_last(client, running)
        assert _until(client, waiting, "succeeded")["attempt"] == 1
        assert service.stop() == 0
        assert "Traceback" not in service.log.read_text()
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        refused = subprocess.run(
            [sys.executable, "-m", "service", "serve"],
            env={**os.environ, "PLUMBLINE_PORT": "0", "PLUMBLINE_DATA_DIR": str(small_disk / "data")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 1
        [sentence] = refused.stderr.splitlines()
        assert "cannot be used: Read-only file system; choose another in PLUMBLINE_DATA_DIR" in sentence


def _fill(disk: Path, ballast: Path) -> None:
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.posix_fallocate(file.fileno(), 0, file.seek(0, os.SEEK_END) + max(4096, shutil.disk_usage(disk).free))


def _use_up_log(service: WholeService) -> None:
    """Have the database go on to new segments of its log until it cannot make one, and ends over that."""
    with (
        contextlib.suppress(psycopg.OperationalError),
        psycopg.connect(service.database_url(), autocommit=True) as database,
    ):
        while True:
            database.execute("SELECT txid_current(), pg_switch_wal()")


def test_another_database_that_refuses_connections(database_url: str, outage: Outage) -> None:
    with (
        reachable_temporary_folder() as folder,
        whole_service(folder, DATABASE_URL=database_url, WORKERS="2") as service,
        httpx.Client(base_url=service.address, timeout=BOUND) as client,
    ):
        running = _post(client, ENDLESS)
        _until_computing(client, running)
        with outage():
            for answer in (client.post("/v1/fits", json=SMALL), client.get(f"/v1/fits/{running}")):
                _is_unavailable(answer, "database-unavailable")
            _is_unavailable(client.get("/health/ready"), "not-ready")
        _until_ready(client)
        assert _until(client, _post(client, SMALL), "succeeded")["attempt"] == 1
        assert _fit(client, running)["attempt"] == 1
        _stop_at_last(client, running)
        assert service.stop() == 0
        assert "Traceback" not in service.log.read_text()
