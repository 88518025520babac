"""Where the bundled PostgreSQL puts its Unix socket: a folder that only its user can enter.

The address of a Unix socket holds few bytes, so a data folder with a long path gets a short folder under the system's
temporary one. Its name follows from the data folder: after a crash the same one is found again.
"""

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from service.database.errors import BundledDatabaseError
from service.database.server_user import ServerUser

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
LONGEST_ADDRESS = 103 if sys.platform == "darwin" else 107


def socket_folder(folder: Path) -> Path:
    """Return the socket's folder for the database in `folder`: inside it, or a short one when that does not fit."""
    own = folder / "run"
    return own if _fits(own) else _short(folder)


def prepare(path: Path, user: ServerUser) -> None:
    """Make the folder, private to `user`.

    Raises
    ------
    BundledDatabaseError
        When somebody else made it first: in a shared temporary folder that could be an impostor.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        ours = found.st_uid in {user.uid, os.geteuid()}
        if not (stat.S_ISDIR(found.st_mode) and ours):
            raise BundledDatabaseError(
                f"the folder for the database's socket, {path}, exists and belongs to another user; remove it, or "
                "choose a shorter PLUMBLINE_DATA_DIR so that it is not needed"
            ) from None
    user.own(path)


def remove(path: Path, folder: Path) -> None:
    """Remove a short folder; one inside the data folder stays."""
    if path == _short(folder):
        shutil.rmtree(path, ignore_errors=True)


def _fits(path: Path) -> bool:
    address = str(path / SOCKET_NAME)
    # PostgreSQL reads the setting as a list, with commas and quotes of its own.
    return len(os.fsencode(address)) <= LONGEST_ADDRESS and not set(address) & set(",\"'\n")


def _short(folder: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    name = f"plumbline-{digest}"
    candidates = [Path(tempfile.gettempdir(), name), Path("/tmp", name)]
    return next((path for path in candidates if _fits(path)), candidates[-1])
