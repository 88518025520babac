"""One place in the service to be filled by a process: started, watched, restarted, stopped."""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

_STANDARD_ERROR = 2

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
_REMEMBERED = 8


@dataclass(frozen=True)
class Program:
    """What fills a place: a command, and the descriptors that it inherits."""

    name: str
    command: Sequence[str]
    descriptors: tuple[int, ...] = ()


class Deaths:
    """The unexpected ends of one process, and what follows from how often they come."""

    def __init__(self, limit: int = 5, within: float = 30.0) -> None:
        self._limit = limit
        self._within = within
        self._times: deque[float] = deque(maxlen=_REMEMBERED)

    def record(self, now: float) -> None:
        self._times.append(now)

    def too_many(self, now: float) -> bool:
        return self._recent(now) >= self._limit

    def delay(self, now: float) -> float:
        """Return the seconds until the next start: doubled for each recent end."""
        recent = self._recent(now)
        return min(_FIRST_DELAY * 2.0 ** (recent - 1), _LONGEST_DELAY) if recent else 0.0

    def _recent(self, now: float) -> int:
        return sum(now - time_ <= self._within for time_ in self._times)


class Place:
    """A program that is to run; each start is one process, in a session of its own."""

    def __init__(self, program: Program, environment: Mapping[str, str], on_end: Callable[["Place"], None]) -> None:
        self.program = program
        self.deaths = Deaths()
        self.due: float | None = None
        self._environment = environment
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int:
        """How the last process ended, as a shell says it; 128 and more is a signal."""
        code = self._process.returncode if self._process else 0
        return code if code >= 0 else 128 - code

    def start(self) -> None:
        """Start the program, and call `on_end` in a thread once it has ended."""
        self.due = None
        self._process = subprocess.Popen(
            self.program.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=_STANDARD_ERROR,  # standard output says one thing: where the service is
            pass_fds=self.program.descriptors,
            start_new_session=True,  # Ctrl-C in the terminal is for the supervisor, which then stops us in order
        )
        threading.Thread(target=self._await_end, args=[self._process], daemon=True).start()

    def schedule(self) -> None:
        """Note an unexpected end, and when to start again."""
        now = time.monotonic()
        self.deaths.record(now)
        self.due = now + self.deaths.delay(now)

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process and self.running:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process, and whatever it started, at once."""
        if self._process:
            _kill_group(self._process.pid)

    def _await_end(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        _kill_group(process.pid)  # what it left behind
        self._on_end(self)


def _kill_group(leader: int) -> None:
    # A session's first process leads the group that its own children are born into.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
