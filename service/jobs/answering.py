"""What the child does all day: takes an order, fits, answers."""

import os
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import NoReturn, get_args

from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.fit import fit
from service.fitting.model import Model
from service.fitting.solution import Solution
from service.fitting.solver import Descent, Exact, Precision
from service.fitting.task import FitTask, Observer, Progress
from service.fitting.threads import pools
from service.fitting.trajectory import Trajectory
from service.jobs.messages import Answer, Broken, Order, PackedTrajectory, Ready, Refused, Solved

PROGRESS_SECONDS = 0.2

# What is imported and compiled late is imported and compiled by these, not by somebody's fit. TensorFlow is not among
# them: most users never ask for it, and it takes seconds and hundreds of megabytes.
_MODEL, _DATA = Model((), ("y",)), Dataset.from_columns({"y": [0.0, 1.0]})
_FIRST_FIT = Order(FitTask(_MODEL, Exact()), _DATA)
_WARMING_FITS = tuple(Order(FitTask(_MODEL, Descent(dtype=dtype, epochs=1)), _DATA) for dtype in get_args(Precision))


def serve(connection: Connection) -> NoReturn:
    """Say `Ready`, then answer one order after the other; the process ends when the other side is gone.

    The rest of warming up goes on beside the orders: on a machine's first start it takes seconds, and only an order
    that needs what is being compiled waits for it.
    """
    orders: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, orders), name="orders", daemon=True).start()
    answer(_FIRST_FIT, lambda _: None)
    connection.send(Ready(pools()))
    threading.Thread(target=_warm, name="warming", daemon=True).start()
    while True:
        connection.send(answer(orders.get(), connection.send))


def _warm() -> None:
    for order in _WARMING_FITS:
        answer(order, lambda _: None)


def answer(order: Order, tell: Callable[[Progress], None]) -> Answer:
    """Fit; tell of progress now and then; whatever happens, come back with an answer."""
    teller = Teller(tell)
    try:
        return _pack(_fit(order, teller), teller.last)
    except InvalidProblem as reason:
        return Refused(reason)
    except Exception:  # noqa: BLE001 - the child's outermost frame: its log is the worker's
        return Broken(traceback.format_exc())


class Teller:
    """An observer that passes progress on a few times a second, and remembers the last there was."""

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self._tell = tell
        self._next = 0.0
        self.last: Progress | None = None

    def __call__(self, progress: Progress) -> bool:
        self.last = progress
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_SECONDS
            self._tell(progress)
        return True


def _fit(order: Order, observe: Observer) -> Solution:
    task = order.task
    problem = task.problem(order.dataset)
    return fit(problem, task.solver, task.recording, observe, task.inference, task.others)


def _pack(solution: Solution, progress: Progress | None) -> Solved:
    return Solved(solution.report, _packed(solution.trajectory), progress)


def _packed(trajectory: Trajectory | None) -> PackedTrajectory | None:
    if trajectory is None:
        return None
    return PackedTrajectory(trajectory.recorded, trajectory.total_steps, trajectory.to_bytes())


def _receive(connection: Connection, orders: "SimpleQueue[Order]") -> None:
    # In a thread, so that the end of the stream is seen during a fit; and then there is nobody left to tell.
    try:
        while True:
            orders.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:  # noqa: BLE001 - without this thread the child would be deaf
        traceback.print_exc()
        os._exit(1)
