"""A whole service as it is really run, whose processes can be killed one by one or all at once, and started again."""

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from service.launch import READY

T = TypeVar("T")

PATIENCE = 240.0
_POLL_SECONDS = 0.05
# Even where everybody else can only read.
_WRITES = "-c default_transaction_read_only=off"


class WholeService:
    """`plumbline serve` on a folder of its own: data, temporary files and log.

    After a kill of the supervisor it comes back at the same address, so that clients need not be told.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log = folder / "log"
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._temporary.chmod(0o711)
        self._settings = {"PORT": "0", "DATA_DIR": str(folder / "data")} | settings
        self._data = Path(self._settings["DATA_DIR"])
        self.store = folder / "store"
        self._known: dict[int, psutil.Process] = {}
        self._sockets: Path | None = None
        self.address = ""
        self.start()

    def start(self) -> None:
        """Start it, again perhaps, and wait until it is ready."""
        variables = {f"PLUMBLINE_{name}": value for name, value in self._settings.items()}
        with self.log.open("a") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                env={**os.environ, "TMPDIR": str(self._temporary), **variables},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._supervisor.stdout is not None
        line = next((line for line in self._supervisor.stdout if line.startswith(READY)), None)
        assert line is not None, self.log.read_text()
        self.address = line.removeprefix(READY).strip()
        self._settings["PORT"] = self.address.rpartition(":")[2]
        self._sockets = self._socket_folder()
        self.family()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.family()
        self._supervisor.terminate()
        return self._wait()

    @property
    def is_running(self) -> bool:
        return self._supervisor.poll() is None

    def family(self) -> list[psutil.Process]:
        """The supervisor and all its processes, a database that it found running included."""
        found = [process for process in psutil.process_iter() if self._is_ours(process)]
        self._known |= {process.pid: process for process in found}
        return found

    def left_behind(self) -> list[psutil.Process]:
        """The processes that still run of all that were seen, and whatever else works on the folder."""
        self.family()
        # Waits no longer than init takes to bury those that were orphans when they ended.
        return psutil.wait_procs(list(self._known.values()), timeout=PATIENCE)[1]

    def temporary_files(self) -> list[Path]:
        """What is left in temporary folders, the database's socket included."""
        sockets = [self._sockets] if self._sockets is not None and self._sockets.exists() else []
        return [*self._temporary.iterdir(), *sockets]

    def lock(self) -> str:
        """What the lock file says."""
        return (self._data / "serve.lock").read_text()

    def of(self, *words: str) -> list[psutil.Process]:
        """The processes with these words in their command line."""
        return [process for process in self.family() if set(words) <= set(_words(process))]

    def postmaster(self) -> list[psutil.Process]:
        return [process for process in self.family() if self._is_postmaster(process)]

    def supervisor(self) -> list[psutil.Process]:
        return [process for process in self.family() if process.pid == self._supervisor.pid]

    def backends(self) -> list[psutil.Process]:
        """The database's processes that serve one connection each."""
        return [process for process in self.family() if " [local] " in " ".join(_words(process))]

    def children(self) -> list[psutil.Process]:
        """The processes in which workers have their fits run."""
        workers = {worker.pid for worker in self.of("service.worker")}
        return [process for process in self.of("service.jobs.child") if _parent(process) in workers]

    def busy_child(self) -> psutil.Process:
        """The only one of them that computes, as soon as that is so."""

        def only() -> psutil.Process | None:
            busy = [child for child in self.children() if _status(child) == psutil.STATUS_RUNNING]
            return busy[0] if len(busy) == 1 else None

        return until(only)

    def kill(self, kind: str, rng: random.Random) -> None:
        """Kill one process of a kind by SIGKILL, as soon as there is one, or everything."""
        candidates = until(lambda: KINDS[kind](self) or None)
        for victim in candidates if kind == "everything" else [rng.choice(candidates)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        if kind in {"supervisor", "everything"}:
            self._wait()
            self.start()

    def database_url(self) -> str:
        """How to reach its database."""
        [api] = until(lambda: self.of("service.asgi") or None)
        return api.environ()["PLUMBLINE_DATABASE_URL"]

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement, committed; asked again while the database is away."""

        def ask() -> list[tuple[Any, ...]] | None:
            try:
                with psycopg.connect(
                    self.database_url(), autocommit=True, connect_timeout=5, options=_WRITES
                ) as connection:
                    cursor = connection.execute(statement.encode(), values or None)
                    return cursor.fetchall() if cursor.description else []
            except (psycopg.OperationalError, psutil.NoSuchProcess):
                return None

        return until(ask)

    def _socket_folder(self) -> Path | None:
        """Where the database's socket is, unless that is inside the data folder."""
        host = conninfo_to_dict(self.database_url()).get("host")
        folder = Path(str(host))
        return None if folder.is_relative_to(self._data) or not folder.is_absolute() else folder

    def _wait(self) -> int:
        code = self._supervisor.wait(PATIENCE)
        assert self._supervisor.stdout is not None
        self._supervisor.stdout.close()
        return code

    def _is_ours(self, process: psutil.Process) -> bool:
        # By what it was told, which it hands on to all it starts; the database is told nothing but its folder.
        try:
            if process.environ().get("PLUMBLINE_DATA_DIR") == str(self._data):
                return True
            return any(self._is_postmaster(one) for one in (process, *process.parents()))
        except psutil.Error:
            return False

    def _is_postmaster(self, process: psutil.Process) -> bool:
        return f"{self._data}/postgres/data" in _words(process)


#: What can be killed.
KINDS: dict[str, Callable[[WholeService], list[psutil.Process]]] = {
    "API": lambda service: service.of("service.asgi"),
    "worker": lambda service: service.of("service.worker"),
    "child": WholeService.children,
    "postmaster": WholeService.postmaster,
    "backend": WholeService.backends,
    "supervisor": WholeService.supervisor,
    "everything": WholeService.family,
}


@contextlib.contextmanager
def whole_service(folder: Path, **settings: str) -> Iterator[WholeService]:
    """A service with these settings; whatever is left of it at the end is killed."""
    service = WholeService(folder, **settings)
    try:
        yield service
    finally:
        if service.is_running:
            service.stop()
        for process in service.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@contextlib.contextmanager
def reachable_temporary_folder() -> Iterator[Path]:
    """A temporary folder that the bundled database's user can enter."""
    with tempfile.TemporaryDirectory(prefix="plumbline-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def until(ask: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """The first answer that is not None."""
    deadline = time.monotonic() + patience
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"nothing came of {ask} in {patience} s"
        time.sleep(_POLL_SECONDS)
    return answer


def insist(request: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer to a request that is sent until there is one: not cut off, and not a 503 that says to come again."""

    def ask() -> httpx.Response | None:
        try:
            answer = request()
        except httpx.TransportError:
            return None
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            assert answer.headers["Retry-After"].isdigit()
            assert answer.headers["Content-Type"] == "application/problem+json"
            return None
        return answer

    return until(ask)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _status(process: psutil.Process) -> str | None:
    try:
        return process.status()
    except psutil.Error:
        return None
