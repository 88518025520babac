"""Runs fits in a warm child process that can be killed: numerics sit in C and do not listen.

FitProcessError
├── ChildCrashed   the child ended without an answer: a crash, no memory, a kill
└── FitBroke       the fit raised what it should not have; the traceback is for the log
"""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from service.fitting.diagnosis.simulation import Simulated, Simulation
from service.jobs.line import AwaitedLine
from service.jobs.messages import Answer, Broken, Glimpse, Halt, Message, News, Order, Part, Ready, Refused, Solved
from service.jobs.records import FitProgress

T = TypeVar("T")

Tell = Callable[[News], None]
Keep = Callable[[Part], Awaitable[None]]

_EXIT_SECONDS = 5.0
_LOOK_SECONDS = 0.005


class FitProcessError(Exception):
    """The child did not come back with a solution, through no fault of the problem."""


class ChildCrashed(FitProcessError):
    """The child ended without an answer; the message says how, in words that end a sentence."""


class FitBroke(FitProcessError):
    """The fit raised an unexpected exception; the message is its traceback."""


class FitRunner:
    """Keeps one child, and lets it do one fit at a time.

    Parameters
    ----------
    environment
        The child's environment variables, all of them.
    threads
        How many it may compute with.
    """

    def __init__(self, environment: Mapping[str, str], threads: int) -> None:
        self._environment = environment
        self._threads = threads
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return None if self._child is None else self._child.pid

    async def warm(self) -> Ready:
        """Have a child with everything imported, and return what it says of itself.

        Raises
        ------
        ChildCrashed
            It ended before that.
        """
        return await self._use(lambda child: child.ready())

    async def run(self, order: Order, tell: Tell, keep: Keep) -> Solved:
        """Fit in the child, a new one where the last one is gone. Cancelled, it kills the child at once.

        The order's number is for the runner to say.

        Parameters
        ----------
        tell
            Called with news of progress, and glimpses of the trajectory.
        keep
            Called with each part of a long trajectory but the last. The child waits until it is kept, soon after it
            has the next one; what it raises ends the fit, and the child with it.

        Raises
        ------
        ChildCrashed, FitBroke
        InvalidProblem
            The problem cannot be fitted as asked.
        """
        match await self._use(lambda child: child.ask(order, tell, keep)):
            case Solved() as solved:
                return solved
            case Refused(reason):
                raise reason
            case Broken(traceback):
                raise FitBroke(traceback)

    async def halt(self) -> None:
        """Have the fit that runs take no more steps: `run` returns what it came to, soon if it is still taking some."""
        if self._child is not None:
            await self._child.halt()

    def prepare(self) -> None:
        """Start a child where there is none, so that the next fit does not wait for that."""
        if self._child is None:
            self._child = Child.start(self._environment, self._threads)

    async def simulate(self, simulation: Simulation) -> Simulated:
        """Have the child take a simulation's steps, as it fits in `run`.

        Raises
        ------
        ChildCrashed, FitBroke
        """
        match await self._use(lambda child: child.simulate(simulation)):
            case Broken(traceback):
                raise FitBroke(traceback)
            case simulated:
                return simulated

    async def close(self) -> None:
        """Kill the child, if there is one, and see it gone."""
        child, self._child = self._child, None
        if child is not None:
            await child.close()

    async def _use(self, conversation: Callable[["Child"], Awaitable[T]]) -> T:
        if self._child is None or not self._child.is_alive:
            await self.close()
            self.prepare()
        assert self._child is not None
        try:
            return await conversation(self._child)
        except BaseException:
            # Dead, or in the middle of something nobody waits for any more.
            await self.close()
            raise


class Child:
    """One child process and our end of its socket."""

    def __init__(self, process: "subprocess.Popen[bytes]", line: AwaitedLine) -> None:
        self._process = process
        self._line = line
        self._orders = 0

    @classmethod
    def start(cls, environment: Mapping[str, str], threads: int) -> "Child":
        """Start a child that holds the other end of a socket, and nothing else of ours."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "service.jobs.child", str(theirs.fileno()), str(threads)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what libraries print belongs in the log
                env=environment,
            )
        return cls(process, AwaitedLine(ours))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def ready(self) -> Ready:
        """Wait for `Ready`; not to be asked for twice. Raises `ChildCrashed`."""
        said = await self._receive()
        assert isinstance(said, Ready)
        return said

    async def ask(self, order: Order, tell: Tell, keep: Keep) -> Answer:
        """Send the order and wait for its answer. Raises `ChildCrashed`, and what `keep` raises."""
        self._orders += 1
        await self._send(replace(order, number=self._orders))
        while True:
            match await self._receive():
                case FitProgress() | Glimpse() as news:
                    tell(news)
                case Part() as part:
                    await keep(part)
                case Solved() | Refused() | Broken() as answer:
                    return answer

    async def halt(self) -> None:
        """Have the last order halted. A child that is gone is for `ask` to find out."""
        with suppress(OSError):
            await self._line.send(Halt(self._orders))

    async def simulate(self, simulation: Simulation) -> Simulated | Broken:
        """Send the simulation and wait for what comes of it. Raises `ChildCrashed`."""
        await self._send(simulation)
        while True:
            match await self._receive():
                case Simulated() | Broken() as said:
                    return said

    async def close(self) -> None:
        """Kill the process, whatever it is doing, and see it gone; even where this is cancelled."""
        self._process.kill()
        going = asyncio.create_task(self._gone(None))
        try:
            await asyncio.shield(going)
        except asyncio.CancelledError:
            # Killed, it is gone in a moment; if nobody looked, it would stay as a zombie.
            await going
            raise
        finally:
            self._line.close()

    async def _send(self, message: Order | Simulation) -> None:
        try:
            await self._line.send(message)
        except OSError as error:
            raise ChildCrashed(await self._ending()) from error

    async def _receive(self) -> Message:
        try:
            message: Message = await self._line.receive()
        except (EOFError, OSError) as error:
            raise ChildCrashed(await self._ending()) from error
        return message

    async def _ending(self) -> str:
        # The end of the stream comes a moment before the end of the process.
        await self._gone(_EXIT_SECONDS)
        return describe_exit(self._process.poll())

    async def _gone(self, seconds: float | None) -> None:
        """Wait for the process to end. Not in a thread: all may be waiting for what this child was asked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._process.poll() is None:  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(_LOOK_SECONDS)


def describe_exit(returncode: int | None) -> str:
    """How a process ended, in words: `returncode` as `subprocess.Popen` has it."""
    if returncode is None:
        return "closed its connection"
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    name = signal.Signals(-returncode).name
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
