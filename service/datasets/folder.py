"""A store of files in a folder: on this machine, or on a file system that all machines share."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from service.datasets.files import StoreUnavailable, StoreUnusable, is_digest, path_of

_UNFINISHED = ".unfinished"

#: What does not pass by waiting.
_FOR_EVER = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ELOOP}


class Folder:
    """See `Files`. Files are written beside their place and renamed, so that a name is a whole file or none."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        try:
            # Not its parents: of a share that is not mounted they are what is missing.
            self._root.mkdir(exist_ok=True)
            probe = self._unfinished(self._root)
            _write(probe, memoryview(b""))
            probe.unlink()
        except OSError as error:
            if error.errno not in _FOR_EVER:
                raise StoreUnavailable(self._reason(error)) from error
            raise StoreUnusable(
                f"{self._reason(error)}; PLUMBLINE_DATASET_STORE must be a folder that this user can write to"
            ) from error

    def put(self, name: str, body: memoryview) -> None:
        with self._away():
            place = self._place(name)
            place.parent.mkdir(exist_ok=True)
            unfinished = self._unfinished(place.parent)
            try:
                _write(unfinished, body)
                unfinished.replace(place)
            finally:
                unfinished.unlink(missing_ok=True)
            _sync_folder(place.parent)
            _sync_folder(self._root)

    def size(self, name: str) -> int | None:
        with self._away():
            try:
                return self._place(name).stat().st_size
            except FileNotFoundError:
                self._root.stat()
                return None

    def get(self, name: str) -> bytes | None:
        with self._away():
            try:
                return self._place(name).read_bytes()
            except FileNotFoundError:
                # Without the whole store, nothing can be said of one file.
                self._root.stat()
                return None

    def remove(self, name: str) -> None:
        with self._away():
            self._place(name).unlink(missing_ok=True)

    def names(self, before: datetime) -> Iterator[str]:
        """See `Files`. What was begun before that, and never finished, is removed on the way."""
        with self._away():
            for path in self._root.glob("*/*"):
                if not _is_older(path, before):
                    continue
                if path.suffix == _UNFINISHED:
                    path.unlink(missing_ok=True)
                elif is_digest(path.name):
                    yield path.name

    def _place(self, name: str) -> Path:
        return self._root / path_of(name)

    @staticmethod
    def _unfinished(folder: Path) -> Path:
        return folder / f"{uuid4().hex}{_UNFINISHED}"

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(self._reason(error)) from error

    def _reason(self, error: OSError) -> str:
        return f"the folder of datasets {self._root} cannot be used: {error.strerror or error}"


def _write(path: Path, body: memoryview) -> None:
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # A name lasts when its folder has been written.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_older(path: Path, before: datetime) -> bool:
    try:
        return path.stat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return False
