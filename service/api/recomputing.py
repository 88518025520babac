"""The reference of a finished fit, solved once more: only a fit's report is stored, not what its rows amount to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from fastapi import Request

from service.api.backing import Backing
from service.api.refusals import NotFound
from service.fitting.comparison import References
from service.fitting.exact import references
from service.fitting.problem import Problem
from service.fitting.task import FitTask
from service.jobs.records import FitRecord

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Recomputed:
    """A fit's task and problem."""

    task: FitTask
    problem: Problem

    @cached_property
    def references(self) -> References:
        """The exact answers, solved when they are first asked for: this is what takes time."""
        return references(self.problem, self.task.solver.penalty)


async def from_reference(request: Request, services: Backing, record: FitRecord, work: Callable[[Recomputed], T]) -> T:
    """What `work` makes of a fit, in a thread, one request at a time: data may be long, and cores few.

    Raises
    ------
    NotFound
        The fit has been deleted in the meantime.
    """
    turn: asyncio.Semaphore = request.app.state.recomputing
    async with turn:
        task, dataset = await services.fits.task(record.id), await services.datasets.get(record.dataset_id)
        if task is None or dataset is None:
            raise NotFound(f"The fit {record.id} has been deleted.")
        return await asyncio.to_thread(_quietly, work, Recomputed(task, task.problem(dataset)))


# What leaves float64 is data here too: it is sent as null.
@np.errstate(all="ignore")
def _quietly(work: Callable[[Recomputed], T], recomputed: Recomputed) -> T:
    return work(recomputed)
