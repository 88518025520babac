"""The child process in which fits run: ``python -m service.jobs.child FD THREADS``.

FD is its end of the worker's socket, THREADS how many it may compute with.
It lives as long as the other end is open, and not a moment longer: not even in the middle of a fit.
"""

import contextlib
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> None:
    """Say `Ready`, then answer orders until the worker is gone."""
    # Both reach every process of a terminal or a service at once; when the child ends is for the worker to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _volunteer_for_memory()
    descriptor, count = map(int, argv)
    # Before the libraries are loaded: their pools are made when they are.
    from service.fitting.threads import use_threads

    use_threads(count)
    # Not before: an interrupt during these imports, which take a second, would end the child with a traceback.
    from service.jobs.answering import serve
    from service.jobs.line import Line

    serve(Line(socket.socket(fileno=descriptor)))


def _volunteer_for_memory() -> None:
    # Where Linux runs out of memory, the fit has to go, not the worker or the database.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
