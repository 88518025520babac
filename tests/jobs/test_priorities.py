"""Fits that wait are begun in the order of their priority, by a worker as it is started anywhere."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.bootstrap import Services
from service.fitting.data import Dataset
from service.fitting.model import Model
from service.fitting.solver import Exact
from service.fitting.task import FitTask
from service.jobs.asked import Asked

pytestmark = pytest.mark.anyio

DATASET = Dataset.from_columns({"x": [1.0, 2.0, 3.0], "y": [1.0, 3.0, 2.0]})
#: Other programs are asked: no worker takes it together with others.
TASK = FitTask(Model(("x",), ("y",)), Exact(), others=("numpy",))
PRIORITIES = (0, -100, 7, 100, 7, -1, 0)
PATIENCE = 180.0


@contextmanager
def _worker(database_url: str, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "PLUMBLINE_DATABASE_URL": database_url, "PLUMBLINE_DATA_DIR": str(folder)}
    with subprocess.Popen([sys.executable, "-m", "service.worker"], env=environment) as worker:
        try:
            yield
        finally:
            worker.send_signal(signal.SIGTERM)


@pytest.mark.long
async def test_a_worker_begins_with_the_highest_priority(services: Services, database_url: str, tmp_path: Path) -> None:
    asked = [Asked(DATASET, TASK, {}, {"n": str(n)}, priority) for n, priority in enumerate(PRIORITIES)]
    submitted = [fit.id for fit in await services.fits.submit_all(asked[:3])]
    submitted += [(await services.fits.submit(item)).id for item in asked[3:]]
    with _worker(database_url, tmp_path):
        ended = [await services.notices.wait(fit_id, PATIENCE) for fit_id in submitted]
    begun = sorted((fit.started_at, n) for n, fit in enumerate(ended) if fit is not None and fit.started_at is not None)
    # Of equal ones, the first that came.
    assert [n for _, n in begun] == sorted(range(len(PRIORITIES)), key=lambda n: -PRIORITIES[n])
