"""The child process: real ones, really killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.model import Model
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import FitTask, Progress
from service.fitting.trajectory import Trajectory
from service.jobs.cores import available_cores
from service.jobs.messages import Order, Ready
from service.jobs.runner import ChildCrashed, FitBroke, FitRunner, describe_exit

pytestmark = pytest.mark.anyio

ENDLESS = Descent(epochs=10**11)


@pytest.fixture
def order(dataset: Dataset) -> Callable[[Solver], Order]:
    return lambda solver: Order(FitTask(Model(("x",), ("y",)), solver), dataset)


MakeOrder = Callable[[Solver], Order]


def _silent(_: Progress) -> None:
    pass


def _open_files() -> int:
    return psutil.Process().num_fds()


async def _until_computing(runner: FitRunner, order: Order) -> "asyncio.Task[object]":
    progress = asyncio.Event()
    running = asyncio.create_task(runner.run(order, lambda _: progress.set()))
    await progress.wait()
    return running


async def test_an_exact_fit_comes_back(runner: FitRunner, order: MakeOrder) -> None:
    solved = await runner.run(order(Exact()), _silent)
    assert solved.report.outcome.kind == "exact"
    assert solved.trajectory is None


async def test_a_descent_comes_back_with_its_trajectory(runner: FitRunner, order: MakeOrder) -> None:
    solved = await runner.run(order(Descent(epochs=20)), _silent)
    assert solved.trajectory is not None
    assert solved.progress is not None
    trajectory = Trajectory.from_bytes(solved.trajectory.body)
    assert solved.progress.steps_done == solved.trajectory.total_steps == trajectory.total_steps == 20
    assert solved.trajectory.recorded == trajectory.recorded == 21


async def test_the_same_child_does_one_fit_after_the_other(runner: FitRunner, order: MakeOrder) -> None:
    await runner.warm()
    pid = runner.pid
    for solver in (Exact(), Descent(epochs=2), Exact()):
        await runner.run(order(solver), _silent)
    assert runner.pid == pid


async def test_a_refused_problem_is_the_domains_error(runner: FitRunner, dataset: Dataset) -> None:
    task = FitTask(Model(("x",), ("y",), intercept=False), Exact(), scaling=Scaling("minmax"))
    with pytest.raises(InvalidProblem) as refusal:
        await runner.run(Order(task, dataset), _silent)
    assert refusal.value.place == ("scaling", "features")


async def test_an_unexpected_exception_is_for_the_log(runner: FitRunner, dataset: Dataset, order: MakeOrder) -> None:
    with pytest.raises(FitBroke, match="Traceback"):
        await runner.run(Order(FitTask(Model(("absent",), ("y",)), Exact()), dataset), _silent)
    assert (await runner.run(order(Exact()), _silent)).report.outcome.kind == "exact"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_killed_child_is_a_crash_and_the_next_one_works(
    runner: FitRunner, order: MakeOrder, number: signal.Signals
) -> None:
    running = await _until_computing(runner, order(ENDLESS))
    assert runner.pid is not None
    os.kill(runner.pid, number)
    with pytest.raises(ChildCrashed, match=number.name):
        await running
    assert runner.pid is None
    assert (await runner.run(order(Exact()), _silent)).report.outcome.kind == "exact"


async def test_a_child_that_died_idle_is_replaced(runner: FitRunner, order: MakeOrder) -> None:
    await runner.warm()
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGKILL)
    # Dead, and still for the runner to find out.
    await asyncio.to_thread(os.waitid, os.P_PID, runner.pid, os.WEXITED | os.WNOWAIT)
    assert (await runner.run(order(Exact()), _silent)).report.outcome.kind == "exact"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_whole_group_do_not_end_a_fit(
    runner: FitRunner, order: MakeOrder, number: signal.Signals
) -> None:
    await runner.warm()
    assert runner.pid is not None
    os.kill(runner.pid, number)
    assert (await runner.run(order(Exact()), _silent)).report.outcome.kind == "exact"


async def test_cancelling_kills_the_child_and_leaves_nothing(runner: FitRunner, order: MakeOrder) -> None:
    files = _open_files()
    running = await _until_computing(runner, order(ENDLESS))
    pid = runner.pid
    assert pid is not None
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(pid)
    assert _open_files() == files


async def test_progress_is_told_a_few_times_a_second(runner: FitRunner, order: MakeOrder) -> None:
    await runner.run(order(Descent(epochs=1)), _silent)
    told: list[float] = []
    loop = asyncio.get_running_loop()
    enough = asyncio.Event()

    def hear(_: Progress) -> None:
        told.append(loop.time())
        if len(told) == 6:
            enough.set()

    running = asyncio.create_task(runner.run(order(ENDLESS), hear))
    await enough.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert told[5] - told[0] >= 0.8


async def test_a_child_that_cannot_start_says_how_it_ended(
    child_environment: Mapping[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "numpy.py"
    broken.write_text("raise SystemExit(3)")
    runner = FitRunner({**child_environment, "PYTHONPATH": str(tmp_path)}, threads=1)
    with pytest.raises(ChildCrashed, match="exit code 3"):
        await runner.warm()
    assert runner.pid is None


@pytest.mark.parametrize("threads", sorted({1, available_cores()}))
async def test_a_childs_pools_are_as_large_as_was_set(child_environment: Mapping[str, str], threads: int) -> None:
    others = {name: str(3 - min(threads, 2)) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    runner = FitRunner({**child_environment, **others}, threads)
    try:
        ready = await runner.warm()
    finally:
        await runner.close()
    assert ready.pools
    assert set(ready.pools.values()) == {threads}


@pytest.mark.parametrize("computing", [False, True])
def test_the_child_ends_with_the_other_end_of_its_socket(
    child_environment: Mapping[str, str], order: MakeOrder, computing: bool
) -> None:
    ours, theirs = socket.socketpair()
    with theirs, Connection(ours.detach()) as connection:
        command = [sys.executable, "-m", "service.jobs.child", str(theirs.fileno()), "1"]
        child = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=child_environment)
        theirs.close()
        assert isinstance(connection.recv(), Ready)
        if computing:
            connection.send(order(ENDLESS))
            assert isinstance(connection.recv(), Progress)
    assert child.wait(10) == 0


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (None, "closed its connection"),
        (0, "ended with exit code 0"),
        (-9, "was killed by SIGKILL, as the system does when memory runs out"),
        (-11, "was killed by SIGSEGV"),
    ],
)
def test_endings_in_words(returncode: int | None, words: str) -> None:
    assert describe_exit(returncode) == words
