"""The bundled PostgreSQL: a private server in one folder, reached through a Unix socket only.

    folder/            ours; 0711 for root, whose server user must pass, else 0700
        data/          the cluster, of the server's user
        run/           its socket (or in a short folder elsewhere, see `socket_folder`)
        postgresql.log
        programs/      a copy of the wheel's programs, only where the server's user cannot run those

Whoever may enter the socket's folder is trusted. The caller sees to it that one process at a time starts a folder.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil
import psycopg

from service.database import postmaster, socket_folder
from service.database.binaries import programs
from service.database.cluster import SUPERUSER, ensure_cluster, server_environment
from service.database.errors import BundledDatabaseError
from service.database.server_user import NAME, ServerUser, server_user

DATABASE = "plumbline"

# Replaying the log after a crash is part of starting.
_START_SECONDS = 300.0
_POLL_SECONDS = 0.005
_LONGEST_LOG = 8 << 20

# One segment of the server's log, which it makes before it needs it.
_LEAST_ROOM = 16 << 20

# Fast, then immediate (replays the log at the next start), then the last resort.
_WAYS_TO_STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

_SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": str(socket_folder.PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "io_method": "sync",  # three processes fewer; reads of a small database come from the system's cache
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True)
class _Running:
    process: psutil.Process
    sockets: Path
    child: subprocess.Popen[bytes] | None = None

    def wait(self, seconds: float | None = None) -> bool:
        """Return whether the server is gone, having waited at most so long."""
        waiting = self.child or self.process
        with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
            waiting.wait(seconds)
            return True
        return False


class BundledPostgres:
    """A PostgreSQL of our own in `folder`, made there at the first start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "postgresql.log"
        self._running: _Running | None = None

    def start(self) -> str:
        """Start the server, or find the one that a killed owner left running, and return its libpq URL.

        Raises
        ------
        BundledDatabaseError
            When it cannot run here: an unreachable folder, a full disk, a foreign cluster; with the reason.
        """
        try:
            self._running = self._adopted() or self._launched()
            _ensure_database(self._running.sockets)
        except (OSError, psycopg.Error, subprocess.SubprocessError) as error:
            self.stop()
            raise BundledDatabaseError(
                f"the bundled database in {self._folder} cannot start: {error}{self._shortage()}{self._last_words()}"
            ) from error
        return _url(self._running.sockets, DATABASE)

    def wait(self) -> None:
        """Return once the server has gone, whoever ended it; at once when none is running."""
        if self._running:
            self._running.wait()

    def stop(self) -> None:
        """Stop the server and wait until it has gone; do nothing when none is running."""
        running = self._running or self._found()
        self._running = None
        if running is None:
            return
        for way, seconds in _WAYS_TO_STOP:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                running.process.send_signal(way)
            if running.wait(seconds):
                break
        socket_folder.remove(running.sockets, self._folder)

    def _found(self) -> _Running | None:
        if (record := postmaster.read(self._data)) and (process := record.process()):
            return _Running(process, record.socket_folder)
        return None

    def _adopted(self) -> _Running | None:
        running = self._found()
        if running is None:
            self._forget_stranger()
            return None
        self._await_ready(running)
        if not _answers(running.sockets):
            # Its socket was swept from the temporary folder: nobody can talk to it any more.
            self.stop()
            return None
        return self._found()

    def _forget_stranger(self) -> None:
        record = postmaster.read(self._data)
        if record and psutil.pid_exists(record.pid):
            # After a restart of the machine any process may bear that number, and PostgreSQL would not start.
            (self._data / postmaster.FILE_NAME).unlink()

    def _launched(self) -> _Running:
        user = server_user()
        self._prepare_folder(user)
        folder_of_programs = programs(user, self._folder / "programs")
        ensure_cluster(self._data, folder_of_programs, user)
        sockets = socket_folder.socket_folder(self._folder)
        socket_folder.prepare(sockets, user)
        child = self._spawned(folder_of_programs / "postgres", sockets, user)
        running = _Running(psutil.Process(child.pid), sockets, child)
        self._running = running  # so that a start that fails from here on is undone
        self._await_ready(running)
        return running

    def _prepare_folder(self, user: ServerUser) -> None:
        make_folder(self._folder)
        blocking = user.first_impassable([*reversed(self._folder.parents), self._folder])
        if blocking is not None:
            who = f"the system user '{NAME}'" if user.switches else "this user"
            raise BundledDatabaseError(
                f"the bundled database runs under {who}, which may not enter {blocking}. "
                f"Choose another folder in PLUMBLINE_DATA_DIR, or let others pass (chmod o+x {blocking}), "
                "or name another PostgreSQL in PLUMBLINE_DATABASE_URL."
            )

    def _spawned(self, program: Path, sockets: Path, user: ServerUser) -> subprocess.Popen[bytes]:
        settings = _SERVER_SETTINGS | {"unix_socket_directories": str(sockets)}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._opened_log() as log:
            return subprocess.Popen(
                [program, "-D", self._data, *arguments],
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is for us; we stop the database last
                **user.process_options(),
            )

    def _opened_log(self) -> IO[bytes]:
        if self._log.exists() and self._log.stat().st_size > _LONGEST_LOG:
            self._log.replace(self._log.with_suffix(".log.1"))
        self._log.touch(mode=0o600)  # it may quote statements, and their data
        return self._log.open("ab")

    def _await_ready(self, running: _Running) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._says_ready(running.process.pid):
            if running.wait(_POLL_SECONDS):
                raise OSError("it ended while starting")
            if time.monotonic() > deadline:
                raise OSError(f"it was not ready after {_START_SECONDS:.0f} seconds")

    def _says_ready(self, pid: int) -> bool:
        record = postmaster.read(self._data)
        return record is not None and record.pid == pid and record.status == postmaster.READY

    def _shortage(self) -> str:
        # Its log lies on the same disk, and may not say so for that very reason.
        free = shutil.disk_usage(self._folder).free if self._folder.exists() else _LEAST_ROOM
        return "" if free >= _LEAST_ROOM else f"; there is no room left on its disk ({free >> 10} KiB)"

    def _last_words(self) -> str:
        if not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            lines = log.read().decode(errors="replace").splitlines()[-10:]
        return f"\nThe end of {self._log}:\n" + "\n".join(lines)


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents: private, but for root passable, as its server runs under another user."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for missing in reversed([part for part in (path, *path.parents) if not part.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(mode)  # whatever the umask


def _url(sockets: Path, database: str) -> str:
    # The port and the user are spelled out: libpq would else take them from PGPORT and the system.
    host = quote(str(sockets), safe="")
    return f"postgresql://{SUPERUSER}@/{database}?host={host}&port={socket_folder.PORT}"


def _connected(sockets: Path) -> psycopg.Connection:
    return psycopg.connect(_url(sockets, "postgres"), autocommit=True, connect_timeout=30)


def _answers(sockets: Path) -> bool:
    try:
        _connected(sockets).close()
    except psycopg.OperationalError:
        return False
    return True


def _ensure_database(sockets: Path) -> None:
    with _connected(sockets) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if not known:
            connection.execute(f"CREATE DATABASE {DATABASE}")
