"""The child process: real ones, really killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.fitting.data import Dataset
from service.fitting.descent.account import Account
from service.fitting.descent.optimizers import Adam
from service.fitting.errors import InvalidProblem
from service.fitting.fit import fit
from service.fitting.model import Model
from service.fitting.recording import Recording
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent, Exact, Solver
from service.fitting.task import Collector, FitTask
from service.fitting.trajectory import Trajectory
from service.jobs.cores import available_cores
from service.jobs.line import Line
from service.jobs.messages import Glimpse, News, Order, Part, Ready, Solved
from service.jobs.records import FitProgress
from service.jobs.runner import Child, ChildCrashed, FitBroke, FitRunner, describe_exit

pytestmark = pytest.mark.anyio

# No closed form reaches their end.
ENDLESS = Descent(optimizer=Adam(), epochs=10**11)
EVERY_STEP = Recording("step", limit=10**6)
#: Three parts of a trajectory.
LONG = FitTask(Model(("x",), ("y",)), Descent(optimizer=Adam(), epochs=300_000), recording=EVERY_STEP)


@pytest.fixture
def order(dataset: Dataset) -> Callable[[Solver], Order]:
    return lambda solver: Order(FitTask(Model(("x",), ("y",)), solver), dataset)


MakeOrder = Callable[[Solver], Order]


def _silent(_: News) -> None:
    pass


async def _unwanted(_: Part) -> None:
    raise AssertionError("a short trajectory needs no part of its own")


def _open_files() -> int:
    return psutil.Process().num_fds()


async def _until_computing(runner: FitRunner, order: Order) -> "asyncio.Task[object]":
    progress = asyncio.Event()
    running = asyncio.create_task(runner.run(order, lambda _: progress.set(), _unwanted))
    await progress.wait()
    return running


async def test_an_exact_fit_comes_back(runner: FitRunner, order: MakeOrder) -> None:
    solved = await runner.run(order(Exact()), _silent, _unwanted)
    assert solved.report.outcome.kind == "exact"
    assert solved.trajectory is None


def _trajectory(parts: list[Part]) -> Trajectory:
    assert [part.ordinal for part in parts] == list(range(len(parts)))
    assert parts[0].account is not None
    account = Account.from_bytes(parts[0].account)
    read = [Trajectory(account, np.frombuffer(part.body, account.layout)) for part in parts]
    assert [(part.recorded, part.step[0], part.total_steps) for part in read] == [
        (part.rows, part.first_step, part.last_step) for part in parts
    ]
    return Trajectory.joined(read)


async def test_a_descent_comes_back_with_its_trajectory(runner: FitRunner, order: MakeOrder) -> None:
    solved = await runner.run(order(Descent(epochs=20)), _silent, _unwanted)
    assert solved.trajectory is not None
    assert solved.last_part is not None
    assert solved.progress is not None
    assert solved.end_state is not None
    trajectory = _trajectory([solved.last_part])
    assert solved.progress.steps_done == solved.trajectory.total_steps == trajectory.total_steps == 20
    assert solved.trajectory.recorded == trajectory.recorded == 21


async def test_a_long_trajectory_comes_part_by_part(runner: FitRunner, dataset: Dataset) -> None:
    parts: list[Part] = []

    async def keep(part: Part) -> None:
        parts.append(part)

    solved = await runner.run(Order(LONG, dataset), _silent, keep)
    assert solved.trajectory is not None
    assert solved.last_part is None
    assert len(parts) == 3
    assert all(part.body.nbytes <= 4 << 20 for part in parts)
    trajectory, collector = _trajectory(parts), Collector()
    fit(LONG.problem(dataset), LONG.solver, LONG.recording, collector)
    assert collector.trajectory is not None
    assert trajectory.recorded == solved.trajectory.recorded == 300_001
    np.testing.assert_array_equal(trajectory.records, collector.trajectory.records)


async def test_parts_are_kept_one_at_a_time_and_all_before_the_answer(runner: FitRunner, dataset: Dataset) -> None:
    said: list[str] = []

    async def keep(part: Part) -> None:
        said.append(f"{part.ordinal} begun")
        await asyncio.to_thread(psutil.pids)  # takes its time
        said.append(f"{part.ordinal} kept")

    await runner.run(Order(LONG, dataset), _silent, keep)
    assert said == [f"{k} {word}" for k in range(3) for word in ("begun", "kept")]


async def test_what_keeping_raises_ends_the_fit_and_the_child(runner: FitRunner, dataset: Dataset) -> None:
    async def keep(_: Part) -> None:
        raise LookupError("gone")

    await runner.warm()
    pid = runner.pid
    assert pid is not None
    with pytest.raises(LookupError, match="gone"):
        await runner.run(Order(LONG, dataset), _silent, keep)
    assert not psutil.pid_exists(pid)


async def test_cancelled_while_a_part_is_kept_it_leaves_nothing(runner: FitRunner, dataset: Dataset) -> None:
    files = _open_files()
    keeping = asyncio.Event()

    async def keep(_: Part) -> None:
        keeping.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(runner.run(Order(LONG, dataset), _silent, keep))
    await keeping.wait()
    pid = runner.pid
    assert pid is not None
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(pid)
    assert _open_files() == files


async def test_the_same_child_does_one_fit_after_the_other(runner: FitRunner, order: MakeOrder) -> None:
    await runner.warm()
    pid = runner.pid
    for solver in (Exact(), Descent(epochs=2), Exact()):
        await runner.run(order(solver), _silent, _unwanted)
    assert runner.pid == pid


async def test_a_refused_problem_is_the_domains_error(runner: FitRunner, dataset: Dataset) -> None:
    task = FitTask(Model(("x",), ("y",), intercept=False), Exact(), scaling=Scaling("minmax"))
    with pytest.raises(InvalidProblem) as refusal:
        await runner.run(Order(task, dataset), _silent, _unwanted)
    assert refusal.value.place == ("scaling", "features")


async def test_an_unexpected_exception_is_for_the_log(runner: FitRunner, dataset: Dataset, order: MakeOrder) -> None:
    with pytest.raises(FitBroke, match="Traceback"):
        await runner.run(Order(FitTask(Model(("absent",), ("y",)), Exact()), dataset), _silent, _unwanted)
    assert (await runner.run(order(Exact()), _silent, _unwanted)).report.outcome.kind == "exact"


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
    assert (await runner.run(order(Exact()), _silent, _unwanted)).report.outcome.kind == "exact"


async def test_a_child_that_died_idle_is_replaced(runner: FitRunner, order: MakeOrder) -> None:
    await runner.warm()
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGKILL)
    # Dead, and still for the runner to find out.
    await asyncio.to_thread(os.waitid, os.P_PID, runner.pid, os.WEXITED | os.WNOWAIT)
    assert (await runner.run(order(Exact()), _silent, _unwanted)).report.outcome.kind == "exact"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_whole_group_do_not_end_a_fit(
    runner: FitRunner, order: MakeOrder, number: signal.Signals
) -> None:
    await runner.warm()
    assert runner.pid is not None
    os.kill(runner.pid, number)
    assert (await runner.run(order(Exact()), _silent, _unwanted)).report.outcome.kind == "exact"


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


async def test_halted_it_comes_back_with_what_it_had_come_to(runner: FitRunner, order: MakeOrder) -> None:
    progress = asyncio.Event()
    running = asyncio.create_task(_run(runner, order(ENDLESS), progress))
    await progress.wait()
    pid = runner.pid
    await runner.halt()
    solved = await running
    assert solved.report.outcome.kind == "cancelled"
    assert solved.progress is not None
    assert solved.report.outcome.steps == solved.progress.steps_done
    assert runner.pid == pid


async def _run(runner: FitRunner, order: Order, told: asyncio.Event) -> Solved:
    return await runner.run(order, lambda _: told.set(), _unwanted)


async def test_a_child_is_seen_gone_even_where_its_closing_is_cancelled(child_environment: Mapping[str, str]) -> None:
    child = Child.start(child_environment, 1)
    process: subprocess.Popen[bytes] = vars(child)["_process"]
    closing = asyncio.create_task(child.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    # Not asked for once more: that alone would bury it.
    assert process.returncode == -signal.SIGKILL


async def test_a_halt_that_comes_late_does_not_concern_the_next_fit(runner: FitRunner, order: MakeOrder) -> None:
    await runner.run(order(Exact()), _silent, _unwanted)
    await runner.halt()
    solved = await runner.run(order(Descent(optimizer=Adam(), epochs=10)), _silent, _unwanted)
    assert (solved.report.outcome.kind, solved.report.outcome.steps) == ("step_limit", 10)


async def test_progress_is_told_a_few_times_a_second(runner: FitRunner, order: MakeOrder) -> None:
    await runner.run(order(Descent(epochs=1)), _silent, _unwanted)
    told: list[float] = []
    loop = asyncio.get_running_loop()
    enough = asyncio.Event()

    def hear(news: News) -> None:
        if isinstance(news, FitProgress):
            told.append(loop.time())
        if len(told) == 6:
            enough.set()

    running = asyncio.create_task(runner.run(order(ENDLESS), hear, _unwanted))
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
    with theirs, ours:
        line = Line(ours)
        command = [sys.executable, "-m", "service.jobs.child", str(theirs.fileno()), "1"]
        child = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=child_environment)
        theirs.close()
        assert isinstance(line.receive(), Ready)
        if computing:
            line.send(order(ENDLESS))
            assert isinstance(line.receive(), FitProgress | Glimpse)
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
