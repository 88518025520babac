"""How a child process learns that its supervisor is gone, even by kill -9, on every system.

The supervisor alone holds the write end of a pipe and never writes; the read end of its children comes to its end when
the kernel closes the write end, whatever became of the supervisor.
"""

import os
import threading
from collections.abc import Callable


def watch(fd: int, on_lost: Callable[[], object]) -> threading.Thread:
    """Call `on_lost` once, in a daemon thread, when the pipe's write end is gone."""

    def wait() -> None:
        while os.read(fd, 1):
            pass
        on_lost()

    thread = threading.Thread(target=wait, name="lifeline", daemon=True)
    thread.start()
    return thread
