"""Memory of the child while 1.5 million steps of 3 coefficients each are written down whole.

The peak above what the child takes when it is idle, after a fit of the same kind, against one and a half times the data
and one part of the trajectory. For batches in a fixed order, and shuffled anew in every epoch. Linux only.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from benchmarks.figure import Figure
from service.fitting.data import Dataset
from service.fitting.descent.optimizers import Adam
from service.fitting.descent.recorder import PART_BYTES
from service.fitting.model import Model
from service.fitting.recording import Recording
from service.fitting.solver import Descent
from service.fitting.task import FitTask
from service.jobs.messages import News, Order, Part
from service.jobs.numba_cache import numba_variables
from service.jobs.runner import FitRunner

STEPS, BATCH = 1_500_000, 64
MODEL = Model(("x1", "x2"), ("y",))


def figures() -> Iterator[Figure]:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder, numba_variables(Path(folder)) as variables:
        for rows in (100_000, 1_000_000):
            for order, shuffle in (("fixed_order", False), ("shuffled", True)):
                peak = asyncio.run(_peak({**os.environ, **variables}, _dataset(rows), shuffle=shuffle))
                allowed = 1.5 * rows * 3 * 8 + PART_BYTES
                yield Figure(f"descent_memory_{order}_{rows}_rows", allowed / peak, 1.0, "1.5_times_data_and_a_part")


def _dataset(rows: int) -> Dataset:
    stream = np.random.default_rng(0)
    x = stream.normal(size=(rows, 2))
    return Dataset.from_arrays(x, x.mean(axis=1) + 0.1 * stream.normal(size=rows))


async def _peak(environment: dict[str, str], dataset: Dataset, *, shuffle: bool) -> int:
    """The child's most bytes above those it takes when it is idle."""
    runner = FitRunner(environment, threads=1)
    try:
        await runner.warm()
        await runner.run(_order(_dataset(1_000), 1_000, shuffle=shuffle), _unheard, _forgotten)
        assert runner.pid is not None
        idle = psutil.Process(runner.pid).memory_info().rss
        process = Path(f"/proc/{runner.pid}")
        process.joinpath("clear_refs").write_text("5")
        solved = await runner.run(_order(dataset, STEPS, shuffle=shuffle), _unheard, _forgotten)
        assert solved.trajectory is not None
        assert solved.trajectory.recorded == STEPS + 1
        lines = process.joinpath("status").read_text().splitlines()
        [most] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        return 1024 * most - idle
    finally:
        await runner.close()


def _order(dataset: Dataset, steps: int, *, shuffle: bool) -> Order:
    descent = Descent(optimizer=Adam(), epochs=steps, max_steps=steps, batch_size=BATCH, shuffle=shuffle)
    return Order(FitTask(MODEL, descent, recording=Recording("step", limit=2 * STEPS)), dataset)


def _unheard(_: News) -> None:
    """Nobody listens."""


async def _forgotten(_: Part) -> None:
    """Kept by nobody."""
