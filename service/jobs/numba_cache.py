"""Where the child keeps what Numba has compiled, so that the next child need not compile it again.

An installation can come with all of it compiled (`service.jobs.warm`, which the image is built with): a data folder
begins with a copy of that. Code is compiled for a whole class of processors, not for the one at hand, so that it serves
wherever the image or the data folder is taken.
"""

import hashlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import service

VARIABLE = "NUMBA_CACHE_DIR"

# The third level of x86-64 (AVX2 and FMA), in LLVM's name and as Linux lists what it takes. Measured on a machine with
# AVX-512, the kernels were as fast as when compiled for it.
_LEVEL = "x86-64-v3"
_LEVEL_FLAGS = frozenset({"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"})
_PROCESSORS = Path("/proc/cpuinfo")


@contextmanager
def numba_variables(data_dir: Path) -> Iterator[dict[str, str]]:
    """What a child's environment has to say to Numba: where compiled code lies, and for what it is compiled."""
    with numba_cache(data_dir) as folder:
        yield {VARIABLE: str(folder), **target()}


@contextmanager
def numba_cache(data_dir: Path) -> Iterator[Path]:
    """A folder that can be written to: below `data_dir` if possible, else one that goes away with the context.

    Numba looks at the file of a function alone, not at what it calls: each state of the sources has its own folder.
    """
    folder = data_dir / "cache" / "numba" / sources_digest()
    if _is_writable(folder):
        _begin_with_shipped(folder)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="plumbline-numba-", ignore_cleanup_errors=True) as temporary:
        _begin_with_shipped(Path(temporary))
        yield Path(temporary)


def shipped() -> Path:
    """Where an installation keeps what was compiled for it beforehand; there need be nothing."""
    return Path(sys.prefix) / "share" / "plumbline" / "numba" / sources_digest()


def target(processors: Path = _PROCESSORS) -> dict[str, str]:
    """Numba's variables for code that other machines can run too; none where this one is too old or not known."""
    if platform.machine() not in ("x86_64", "AMD64") or not processors.is_file():
        return {}
    flags = next((line for line in processors.read_text().splitlines() if line.startswith("flags")), "")
    if not set(flags.split()) >= _LEVEL_FLAGS:
        return {}
    return {"NUMBA_CPU_NAME": _LEVEL, "NUMBA_CPU_FEATURES": ""}


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


def _begin_with_shipped(folder: Path) -> None:
    if not shipped().is_dir() or any(folder.iterdir()):
        return
    with tempfile.TemporaryDirectory(prefix=folder.name, dir=folder.parent, ignore_cleanup_errors=True) as aside:
        whole = shutil.copytree(shipped(), Path(aside) / "whole", copy_function=shutil.copyfile)
        # In one move, as Numba stumbles over files that are half there; another worker may have been quicker.
        with suppress(OSError):
            whole.replace(folder)
