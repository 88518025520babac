"""Compile everything a child may need into the installation: ``python -m service.jobs.warm``, when an image is built.

Numba knows the sources by their times of change, which archives keep to the second only: they are rounded first.
"""

import os
import subprocess
import sys
from pathlib import Path

import service
from service.jobs.numba_cache import VARIABLE, shipped, target


def main() -> None:
    """Fill `shipped()`; raises CalledProcessError where that fails."""
    for source in Path(service.__file__).parent.rglob("*.py"):
        seconds = int(source.stat().st_mtime)
        os.utime(source, (seconds, seconds))
    folder = shipped()
    folder.mkdir(parents=True, exist_ok=True)
    # Numba reads its variables when it is imported: a process of its own, with these.
    program = "from service.jobs.answering import warm; warm()"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **target(), VARIABLE: str(folder)}, check=True)


if __name__ == "__main__":
    main()
