"""The system user the bundled PostgreSQL runs under, and what that user can reach.

PostgreSQL refuses to run as root. So for root it runs under an unprivileged user of its own, and every folder on the
way to its data must let that user pass. Permissions of folders that are not ours are never changed.
"""

import os
import pwd
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.database.errors import BundledDatabaseError

NAME = "plumbline"

# Asked of the kernel as that user: mode bits alone would miss access lists and read-only mounts.
_FIRST_IMPASSABLE = 'for path; do [ -x "$path" ] || { printf %s "$path"; exit 1; }; done'


@dataclass(frozen=True)
class ServerUser:
    """Who runs PostgreSQL; `switches` when that is not the user of this process."""

    uid: int
    gid: int
    switches: bool

    def process_options(self) -> dict[str, Any]:
        """Return the arguments of `subprocess.Popen` that run a child under this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switches else {}

    def own(self, path: Path) -> None:
        """Hand one folder of ours over to this user."""
        if self.switches:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def first_impassable(self, paths: Iterable[Path]) -> Path | None:
        """Return the first of these folders or programs that this user may not enter or run."""
        if not self.switches:
            return next((path for path in paths if not os.access(path, os.X_OK)), None)
        command = ["/bin/sh", "-c", _FIRST_IMPASSABLE, "sh", *map(str, paths)]
        asked = subprocess.run(command, stdout=subprocess.PIPE, cwd="/", check=False, **self.process_options())
        return Path(os.fsdecode(asked.stdout)) if asked.returncode else None


def server_user() -> ServerUser:
    """Return the user to run PostgreSQL under; root gets the system user `plumbline`, created when missing.

    Raises
    ------
    BundledDatabaseError
        When that user has to be created and cannot be.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid(), switches=False)
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        _create()
        entry = pwd.getpwnam(NAME)
    return ServerUser(entry.pw_uid, entry.pw_gid, switches=True)


def _create() -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise BundledDatabaseError(
            f"PostgreSQL does not run as root, and the system user '{NAME}' that it would run under could not be "
            f"created: {reason.strip()}. Create that user, or run Plumbline as an ordinary user, or name another "
            "PostgreSQL in PLUMBLINE_DATABASE_URL."
        ) from error
