"""Where the child keeps what Numba has compiled, so that the next child need not compile it again."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import service

VARIABLE = "NUMBA_CACHE_DIR"


@contextmanager
def numba_cache(data_dir: Path) -> Iterator[Path]:
    """A folder that can be written to: below `data_dir` if possible, else one that goes away with the context.

    Numba looks at the file of a function alone, not at what it calls: each state of the sources has its own folder.
    """
    folder = data_dir / "cache" / "numba" / sources_digest()
    if _is_writable(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="plumbline-numba-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def sources_digest() -> str:
    """A digest of the numerical sources, names and contents."""
    root = Path(service.__file__).parent / "fitting"
    state = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        state.update(f"{path.relative_to(root)}\0".encode())
        state.update(path.read_bytes())
    return state.hexdigest()[:16]


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
