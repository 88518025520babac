"""What `plumbline serve` runs: database, migrations, API and workers, started in order and stopped in reverse.

One thread decides; signals, ended processes and the readiness check reach it as events through a queue. The children
hold the read end of a pipe (see `lifeline`), so none outlives a supervisor that is killed.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from types import FrameType

import psutil

from service.database.bundled import BundledPostgres, make_folder
from service.database.errors import DatabaseError
from service.process import UNUSABLE_SETTINGS
from service.settings import Settings, environment
from service.supervision.address import listen, url
from service.supervision.errors import SupervisorError
from service.supervision.health import unreadiness
from service.supervision.lock import ServeLock, serve_lock
from service.supervision.process import Deaths, Place, Program

# What the children may take beyond `grace_seconds` to put their things away.
_PUTTING_AWAY_SECONDS = 5.0

# The processes of a killed supervisor notice soon, but hold the port, and the database's socket, until they have.
_PATIENCE_AFTER_CRASH = 10.0
_CRASH_POLL_SECONDS = 0.25

_FIRST_READY_POLL_SECONDS, _LAST_READY_POLL_SECONDS, _READY_POLL_GROWTH = 0.02, 1.0, 1.1
_STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXAMPLE = {"data": {"x": [1, 2, 3, 4], "y": [3.1, 4.9, 7.2, 8.8]}, "solver": {"kind": "exact"}}


@dataclass(frozen=True)
class Commands:
    """The programs of the service; the descriptors they get are appended as options."""

    api: Sequence[str] = (sys.executable, "-m", "service.asgi")
    worker: Sequence[str] = (sys.executable, "-m", "service.worker")
    migrate: Sequence[str] = (sys.executable, "-m", "service", "migrate")


class _Event(Enum):
    STOP = auto()
    READY = auto()
    ORPHAN = auto()
    DATABASE_ENDED = auto()
    DATABASE_DUE = auto()


class _StoppedError(Exception):
    """Somebody asked the service to stop."""


def serve(settings: Settings, commands: Commands | None = None) -> int:
    """Run the whole service until it is asked to stop, and return 0.

    Raises
    ------
    SupervisorError
        When it cannot start. What has once been ready is started again for as long as it takes.
    """
    supervisor = _Supervisor(settings, commands or Commands())
    with _signals(supervisor.notice_signal), ExitStack() as stack, suppress(_StoppedError):
        try:
            supervisor.run(stack)
        except DatabaseError as error:
            raise SupervisorError(str(error)) from error
    return 0


class _Supervisor:
    def __init__(self, settings: Settings, commands: Commands) -> None:
        self._settings = settings
        self._commands = commands
        self._events: queue.SimpleQueue[_Event | Place] = queue.SimpleQueue()
        self._stops = 0
        self._was_ready = False
        self._places: list[Place] = []
        self._database: BundledPostgres | None = None
        self._database_deaths = Deaths(within=60.0)
        self._address = ""

    def notice_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGCHLD:
            self._events.put(_Event.ORPHAN)
        else:
            self._stops += 1
            self._events.put(_Event.STOP)

    def run(self, stack: ExitStack) -> None:
        """Start everything, leave on `stack` how to stop it, and watch over it."""
        lock = self._locked(stack)
        patience = _PATIENCE_AFTER_CRASH if lock and lock.after_crash else 0.0
        listener = self._listening(stack, lock, patience)
        lifeline = _lifeline(stack)
        variables = self._variables(self._database_url(stack, patience), listener)
        self._migrate(variables)
        stack.callback(self._stop_places)
        self._start_places(variables, listener.fileno(), lifeline)
        _after(lambda: _await_ready(self._address), lambda: self._events.put(_Event.READY))
        self._watch()

    def _locked(self, stack: ExitStack) -> ServeLock | None:
        if self._settings.database_url is not None:
            return None  # nothing of this service is in the folder
        folder = self._settings.data_dir
        try:
            make_folder(folder)
            return stack.enter_context(serve_lock(folder))
        except OSError as error:
            raise SupervisorError(
                f"the data folder {folder} cannot be used: {error.strerror}; choose another in PLUMBLINE_DATA_DIR"
            ) from error

    def _listening(self, stack: ExitStack, lock: ServeLock | None, patience: float) -> socket.socket:
        listener = stack.enter_context(listen(self._settings.host, self._settings.port, patience))
        self._address = url(listener)
        if lock:
            lock.announce(self._address)
        return listener

    def _database_url(self, stack: ExitStack, patience: float) -> str:
        if self._settings.database_url is not None:
            return self._settings.database_url
        self._database = BundledPostgres(self._settings.data_dir / "postgres")
        stack.callback(self._database.stop)
        return self._start_database_within(self._database, patience)

    def _start_database_within(self, database: BundledPostgres, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._start_database(database)
            except DatabaseError:
                if time.monotonic() >= deadline:
                    raise
            self._event(_CRASH_POLL_SECONDS)

    def _start_database(self, database: BundledPostgres) -> str:
        database_url = database.start()
        _after(database.wait, lambda: self._events.put(_Event.DATABASE_ENDED))
        return database_url

    def _variables(self, database_url: str, listener: socket.socket) -> dict[str, str]:
        port = listener.getsockname()[1]
        resolved = self._settings.model_copy(update={"database_url": database_url, "port": port})
        return {**os.environ, **environment(resolved)}

    def _migrate(self, variables: dict[str, str]) -> None:
        migration = Place(Program("migration", self._commands.migrate), variables, self._events.put)
        migration.start()
        try:
            while self._event(None) is not migration:
                pass
        finally:
            migration.kill()
        if migration.exit_code:
            raise SupervisorError("the database could not be brought up to date; the reason is above")

    def _start_places(self, variables: dict[str, str], listener: int, lifeline: int) -> None:
        tail = ["--lifeline-fd", str(lifeline)]
        api = [*self._commands.api, "--listen-fd", str(listener), *tail]
        programs = [Program("API", api, (listener, lifeline))]
        worker = Program("worker", [*self._commands.worker, *tail], (lifeline,))
        programs += [worker] * self._settings.workers
        self._places = [Place(program, variables, self._events.put) for program in programs]
        for place in self._places:
            place.start()

    def _watch(self) -> None:
        while True:
            match self._event(self._seconds_to_next_start()):
                case Place() as place:
                    self._replace(place)
                case _Event.READY:
                    self._was_ready = True
                    _say_ready(self._address)
                case _Event.ORPHAN:
                    self._reap_orphans()
                case _Event.DATABASE_ENDED:
                    _tell("The bundled database ended unexpectedly; starting it again.")
                    self._schedule_database()
                case _Event.DATABASE_DUE:
                    self._restart_database()
            self._start_due()

    def _event(self, seconds: float | None) -> _Event | Place | None:
        """Return the next event, or None after `seconds`.

        Raises
        ------
        _StoppedError
            When somebody asked the service to stop.
        """
        event = None
        with suppress(queue.Empty):
            event = self._events.get(timeout=seconds)
        if self._stops:
            raise _StoppedError
        return event

    def _seconds_to_next_start(self) -> float | None:
        due = [place.due for place in self._places if place.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.due is not None and place.due <= now:
                place.start()

    def _replace(self, place: Place) -> None:
        place.schedule()
        name = place.program.name
        if place.exit_code == UNUSABLE_SETTINGS:
            raise SupervisorError(f"the {name} cannot work with these settings; the reason is above", place.exit_code)
        if place is self._places[0] and not self._was_ready and place.deaths.too_many(time.monotonic()):
            raise SupervisorError(f"the {name} keeps ending (code {place.exit_code})", place.exit_code or 1)
        _tell(f"The {name} ended unexpectedly (code {place.exit_code}); starting it again.")

    def _schedule_database(self) -> None:
        now = time.monotonic()
        self._database_deaths.record(now)
        delay = self._database_deaths.delay(now)
        _after(lambda: time.sleep(delay), lambda: self._events.put(_Event.DATABASE_DUE))

    def _restart_database(self) -> None:
        if self._database is None:
            return
        try:
            self._start_database(self._database)
        except DatabaseError as error:
            # What a killed server leaves behind may take a moment to notice, and until then keeps the next one out; a
            # full disk may take an operator.
            _tell(str(error))
            self._schedule_database()

    def _reap_orphans(self) -> None:
        ours = {place.pid for place in self._places}
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess, ChildProcessError):
                if child.pid not in ours and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)

    def _stop_places(self) -> None:
        for place in reversed(self._places):
            place.terminate()
        deadline = time.monotonic() + self._settings.grace_seconds + _PUTTING_AWAY_SECONDS
        asked = self._stops
        while self._any_running() and self._stops <= asked and (left := deadline - time.monotonic()) > 0:
            with suppress(queue.Empty):
                self._events.get(timeout=left)
        for place in self._places:
            place.kill()
        while self._any_running():
            self._events.get()

    def _any_running(self) -> bool:
        return any(place.running for place in self._places)


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # The first process of a container inherits orphans, and has to bury them.
    numbers = [*_STOPPING_SIGNALS, *([signal.SIGCHLD] if os.getpid() == 1 else [])]
    # nohup means it.
    numbers = [n for n in numbers if not (n == signal.SIGHUP and signal.getsignal(n) == signal.SIG_IGN)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _lifeline(stack: ExitStack) -> int:
    """Return the read end of a pipe whose write end is ours alone until `stack` closes."""
    read_end, write_end = os.pipe()
    stack.callback(os.close, read_end)
    stack.callback(os.close, write_end)
    return read_end


def _await_ready(address: str) -> None:
    delay = _FIRST_READY_POLL_SECONDS
    while reason := unreadiness(address):
        time.sleep(delay)
        if delay < _LAST_READY_POLL_SECONDS <= delay * _READY_POLL_GROWTH:
            _tell(f"Not ready yet: {reason}")  # after some ten seconds; a worker elsewhere may not be up
        delay = min(delay * _READY_POLL_GROWTH, _LAST_READY_POLL_SECONDS)


def _say_ready(address: str) -> None:
    body = json.dumps(_EXAMPLE)
    print(f"Plumbline is ready at {address}")
    print(
        f"curl -s -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d '{body}' {address}/v1/fits",
        flush=True,
    )


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _after(wait: Callable[[], None], act: Callable[[], None]) -> None:
    def run() -> None:
        wait()
        act()

    threading.Thread(target=run, daemon=True).start()
