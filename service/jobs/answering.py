"""What the child does all day: takes an order, fits or simulates, answers."""

import os
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import NoReturn, get_args

from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam
from service.fitting.descent.standing import Standing
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.simulation import Simulated, Simulation
from service.fitting.errors import InvalidProblem
from service.fitting.fit import fit
from service.fitting.model import Model
from service.fitting.penalty import L2
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Precision, Stop
from service.fitting.task import FitTask
from service.fitting.threads import pools
from service.jobs.line import Line
from service.jobs.messages import Answer, Broken, Halt, News, Order, Part, Ready, Refused, Solved
from service.jobs.telling import Teller

_PRECISIONS = get_args(Precision)

# What is imported and compiled late is imported and compiled by these, not by somebody's fit. TensorFlow is not among
# them: most users never ask for it, and it takes seconds and hundreds of megabytes.
_MODEL, _DATA = Model((), ("y",)), Dataset.from_columns({"y": [0.0, 1.0]})
_FIRST_FIT = Order(FitTask(_MODEL, Exact()), _DATA)
#: Descents by each of the compiled loops: by rows, by statistics of few parameters, and of any optimizer.
_DESCENTS = (
    Descent(epochs=1, batch_size=1, shuffle=True),
    Descent(epochs=1, stop=Stop(gap_tolerance=1e-9)),
    Descent(epochs=1, optimizer=Adam()),
)
#: And by each of the ways to the reference: powers are ever worse conditioned, and more of them than rows not at all.
_LINE = Dataset.from_columns({"x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "y": [1.0, 3.0, 2.0, 5.0, 4.0, 6.0]})
_WARMING_FITS = (
    *(Order(FitTask(_MODEL, replace(descent, dtype=dtype)), _DATA) for descent in _DESCENTS for dtype in _PRECISIONS),
    *(Order(FitTask(Model(("x",), ("y",), degree=degree), Exact()), _LINE) for degree in (1, 3, 5, 7)),
    *(Order(FitTask(Model(("x",), ("y",), weights="y"), solver), _LINE) for solver in (Exact(), Exact(L2(1.0)))),
    Order(
        FitTask(Model(("x",), ("y",), weights="y"), replace(_DESCENTS[2], penalty=L2(1.0)), Scaling("standard")), _LINE
    ),
)


class Halts:
    """Which orders are to take no more steps: what one thread hears, another one asks."""

    def __init__(self) -> None:
        self._latest = -1

    def hear(self, halt: Halt) -> None:
        self._latest = halt.number

    def spare(self, order: Order) -> bool:
        """Whether the order may go on."""
        return order.number > self._latest


def serve(line: Line) -> NoReturn:
    """Say `Ready`, then answer one order after the other; the process ends when the other side is gone.

    The rest of warming up goes on beside the orders: on a machine's first start it takes seconds, and only an order
    that needs what is being compiled waits for it.
    """
    orders: SimpleQueue[Order | Simulation] = SimpleQueue()
    halts = Halts()
    threading.Thread(target=_receive, args=(line, orders, halts), name="orders", daemon=True).start()
    answer(_FIRST_FIT, lambda _: None)
    line.send(Ready(pools()))
    threading.Thread(target=warm, name="warming", daemon=True).start()
    while True:
        line.send(answer(orders.get(), line.send, halts.spare))


def warm() -> None:
    """Import and compile all that is imported and compiled late."""
    for order in _WARMING_FITS:
        answer(order, lambda _: None)


def answer(
    order: Order | Simulation, tell: Callable[[News | Part], None], spare: Callable[[Order], bool] = lambda _: True
) -> Answer | Simulated:
    """Fit; tell of progress and of what is written down on the way; whatever happens, come back with an answer.

    Or take a simulation's steps, of which nothing is told on the way.

    Parameters
    ----------
    tell
        May take its time: the fit waits for it.
    spare
        Asked between blocks of steps whether the order may go on.
    """
    try:
        return simulate(order) if isinstance(order, Simulation) else _solved(order, tell, spare)
    except InvalidProblem as reason:
        return Refused(reason)
    except Exception:  # noqa: BLE001 - the child's outermost frame: its log is the worker's
        return Broken(traceback.format_exc())


def _solved(order: Order, tell: Callable[[News | Part], None], spare: Callable[[Order], bool]) -> Solved:
    task, teller = order.task, Teller(tell, lambda: spare(order))
    ended = None if order.ended is None else Standing.from_bytes(order.ended)
    problem = task.problem(order.dataset)
    return teller.solved(fit(problem, task.solver, task.recording, teller, task.questions, ended))


def _receive(line: Line, orders: "SimpleQueue[Order | Simulation]", halts: Halts) -> None:
    # In a thread, so that the end of the stream is seen during a fit; and then there is nobody left to tell.
    try:
        while True:
            match line.receive():
                case Halt() as halt:
                    halts.hear(halt)
                case order:
                    orders.put(order)
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:  # noqa: BLE001 - without this thread the child would be deaf
        traceback.print_exc()
        os._exit(1)
