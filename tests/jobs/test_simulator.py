"""The serving process's own child for simulations: real ones, really killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.fitting.descent.optimizers import Adam
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.compiled_simulation import simulate
from service.fitting.diagnosis.courses import simulation_of
from service.fitting.diagnosis.simulation import Simulated, Simulation, TooLong
from service.fitting.exact import references
from service.fitting.solver import Descent
from service.jobs.simulator import Simulator
from tests.fitting.descent.problems import random_problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def simulation() -> Simulation:
    problem, descent = random_problem(seed=5), Descent(optimizer=Adam(0.01), batch_size=7, shuffle=True)
    setting = Setting.of(problem, descent, references(problem, None))
    return simulation_of(setting, setting.beginning.state, 3, np.arange(1, 41))


@pytest.fixture
def endless(simulation: Simulation) -> Simulation:
    """Hours of steps."""
    return replace(simulation, orders=None, recorded=np.array([10**13]))


@pytest.fixture
async def simulator(child_environment: Mapping[str, str]) -> AsyncIterator[Simulator]:
    # Where nothing was compiled before, it takes its time.
    simulator = Simulator(child_environment, most_seconds=600.0)
    yield simulator
    await simulator.aclose()


def _is_right(simulated: Simulated, simulation: Simulation) -> bool:
    expected = simulate(simulation)
    assert expected.is_finite
    return simulated.is_finite and np.array_equal(simulated.parameters, expected.parameters)


def _children() -> set[int]:
    """Of this process, those of other tests too."""
    return {child.pid for child in psutil.Process().children()}


async def _computing(simulator: Simulator, endless: Simulation) -> "asyncio.Task[Simulated]":
    """A simulation that a child is at work on."""
    # Ready and idle before, it has something to do from then on that its processor time tells of.
    running = asyncio.create_task(simulator.simulated(endless))
    while simulator.pid is None or psutil.Process(simulator.pid).cpu_times().user < 0.1:
        await asyncio.to_thread(psutil.pids)  # takes its time
    return running


async def test_steps_are_taken_by_one_child_that_is_started_when_it_is_needed(
    simulator: Simulator, simulation: Simulation
) -> None:
    assert simulator.pid is None
    assert _is_right(await simulator.simulated(simulation), simulation)
    pid = simulator.pid
    assert _is_right(await simulator.simulated(simulation), simulation)
    assert simulator.pid == pid


async def test_threads_wait_for_their_turn(simulator: Simulator, simulation: Simulation) -> None:
    # More than the event loop has threads to lend: none of them may be needed to answer the others.
    count = 2 * (32 + 4)
    every = await asyncio.gather(*(asyncio.to_thread(simulator.simulate, simulation) for _ in range(count)))
    assert all(_is_right(simulated, simulation) for simulated in every)


async def test_what_takes_too_long_is_given_up(
    child_environment: Mapping[str, str], endless: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    before = _children()
    simulator = Simulator(child_environment, most_seconds=0.5)
    with pytest.raises(TooLong):
        await asyncio.to_thread(simulator.simulate, endless)
    assert simulator.pid is None
    assert _children() == before
    assert "0.5 s" in caplog.text
    await simulator.aclose()


async def test_a_killed_child_is_too_long_and_the_next_one_works(
    simulator: Simulator, simulation: Simulation, endless: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    running = await _computing(simulator, endless)
    assert simulator.pid is not None
    os.kill(simulator.pid, signal.SIGKILL)
    with pytest.raises(TooLong):
        await running
    assert "SIGKILL" in caplog.text
    assert _is_right(await simulator.simulated(simulation), simulation)


async def test_what_breaks_is_too_long_and_logged(
    simulator: Simulator, simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TooLong):
        await simulator.simulated(replace(simulation, optimizer=None))  # type: ignore[arg-type]
    assert "Traceback" in caplog.text
    assert _is_right(await simulator.simulated(simulation), simulation)


async def test_a_child_that_nobody_needs_is_ended(child_environment: Mapping[str, str], simulation: Simulation) -> None:
    before = _children()
    simulator = Simulator(child_environment, most_seconds=600.0, idle_seconds=0.0)
    assert _is_right(await simulator.simulated(simulation), simulation)
    # It is seen gone a moment after nobody has it any more.
    while simulator.pid is not None or _children() != before:
        await asyncio.to_thread(psutil.pids)
    assert _is_right(await simulator.simulated(simulation), simulation)
    await simulator.aclose()


async def test_closing_ends_what_is_being_done_and_leaves_nothing(
    child_environment: Mapping[str, str], simulation: Simulation, endless: Simulation
) -> None:
    files = psutil.Process().num_fds()
    simulator = Simulator(child_environment, most_seconds=600.0)
    running = await _computing(simulator, endless)
    waiting = asyncio.create_task(simulator.simulated(simulation))
    pid = simulator.pid
    assert pid is not None
    await simulator.aclose()
    for task in (running, waiting):
        with pytest.raises(TooLong):
            await task
    assert not psutil.pid_exists(pid)
    assert psutil.Process().num_fds() == files
    with pytest.raises(TooLong):
        await simulator.simulated(simulation)


def test_the_child_does_not_outlive_a_killed_parent(child_environment: Mapping[str, str]) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], env=child_environment, cwd=root, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([child], 10) == ([child], [])


_PARENT = """
import asyncio, os
import numpy as np
from service.fitting.descent.optimizers import Adam
from service.fitting.diagnosis.simulation import Simulation
from service.jobs.simulator import Simulator

async def main():
    m = np.zeros((1, 1))
    simulation = Simulation(
        Adam(), "float64", np.ones((1, 2, 2)), np.ones(1), m, np.zeros(1), False, m[None], np.zeros((3, 1, 1)), m, 0, 0,
        None, np.array([1]),
    )
    simulator = Simulator(dict(os.environ), most_seconds=600.0)
    await simulator.simulated(simulation)
    print(simulator.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
