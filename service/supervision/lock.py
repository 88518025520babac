"""One `plumbline serve` at a time on one data folder."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from service.supervision.errors import SupervisorError

FILE_NAME = "serve.lock"


@dataclass(frozen=True)
class ServeLock:
    """A held lock; `after_crash` when the last holder did not end of its own will."""

    file: IO[str]
    after_crash: bool

    def announce(self, address: str | None = None) -> None:
        """Tell who asks for the lock from now on which process holds it, and where that serves."""
        _rewrite(self.file, json.dumps({"pid": os.getpid(), "address": address}))


@contextmanager
def serve_lock(folder: Path) -> Iterator[ServeLock]:
    """Hold the folder's lock; the kernel gives it up with this process, however that ends.

    Raises
    ------
    SupervisorError
        When another process holds it.
    """
    with (folder / FILE_NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SupervisorError(_holder(folder, file)) from None
        lock = ServeLock(file, after_crash=bool(_content(file)))
        lock.announce()
        try:
            yield lock
        finally:
            _rewrite(file, "")


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _rewrite(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)  # "a+" writes at the end, wherever that is
    file.flush()


def _holder(folder: Path, file: IO[str]) -> str:
    try:
        held = json.loads(_content(file))
    except ValueError:
        held = {}
    who = f"process {held['pid']}" if held.get("pid") else "another process"
    where = f" at {held['address']}" if held.get("address") else ""
    return f"{who} already serves {folder}{where}; choose another folder in PLUMBLINE_DATA_DIR for a second service"
