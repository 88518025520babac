"""Making a new database cluster, so that a kill at any moment leaves either none or a whole one."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from service.database.binaries import MAJOR
from service.database.errors import BundledDatabaseError
from service.database.server_user import ServerUser

SUPERUSER = "plumbline"
_VERSION_FILE = "PG_VERSION"
_UNFINISHED = "unfinished-"


def ensure_cluster(data: Path, programs: Path, user: ServerUser) -> None:
    """Make the cluster in `data` unless one is there.

    Raises
    ------
    BundledDatabaseError
        When `initdb` fails, or the cluster there belongs to another major version of PostgreSQL.
    """
    if data.exists():
        _require_our_version(data)
        return
    for abandoned in data.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=data.parent))
    user.own(unfinished)
    try:
        _initialise(unfinished, programs, user)
        unfinished.rename(data)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _sync_folder(data.parent)


def server_environment() -> dict[str, str]:
    """Return what PostgreSQL's programs are told: nothing of ours, least of all somebody's PG* variables."""
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # where a system keeps its C libraries apart
    return {"PATH": os.defpath, "LC_ALL": "C", **{name: os.environ[name] for name in kept if name in os.environ}}


def _initialise(data: Path, programs: Path, user: ServerUser) -> None:
    options = ["-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"]
    made = subprocess.run(
        [str(programs / "initdb"), "-D", str(data), *options],
        env=server_environment() | _name_for_nameless(data.parent),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        check=False,
        start_new_session=True,
        **user.process_options(),
    )
    if made.returncode:
        reason = "\n".join((made.stderr or made.stdout).strip().splitlines()[-10:])
        raise BundledDatabaseError(f"the bundled database could not be made in {data.parent}:\n{reason}")


def _name_for_nameless(folder: Path) -> dict[str, str]:
    """Return variables that give this process's user a name for `initdb`, which refuses to work without one.

    A container may run under any number; `nss_wrapper` is how PostgreSQL's own image solves that too.
    """
    if _has_name() or not (libraries := _libraries_that_name()):
        return {}
    users, groups = folder / "passwd", folder / "group"
    users.write_text(f"{SUPERUSER}:x:{os.getuid()}:{os.getgid()}::/:/bin/false\n")
    groups.write_text(f"{SUPERUSER}:x:{os.getgid()}:\n")
    return {"LD_PRELOAD": str(libraries[0]), "NSS_WRAPPER_PASSWD": str(users), "NSS_WRAPPER_GROUP": str(groups)}


def _libraries_that_name() -> list[Path]:
    return [*Path("/usr").glob("lib*/libnss_wrapper.so"), *Path("/usr").glob("lib/*/libnss_wrapper.so")]


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _require_our_version(data: Path) -> None:
    version = (data / _VERSION_FILE).read_text().strip()
    if version != str(MAJOR):
        raise BundledDatabaseError(
            f"{data} was made by PostgreSQL {version}, and the bundled one is {MAJOR}; carry it over with "
            "pg_dump, or choose another PLUMBLINE_DATA_DIR"
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
