"""Fits as they are asked for, and what tells whether two requests ask for the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from service import __version__
from service.fitting.data import Dataset
from service.fitting.solver import Descent
from service.fitting.task import FitTask
from service.jobs.records import TASK


@dataclass(frozen=True, eq=False)
class Asked:
    """A fit that is asked for.

    Attributes
    ----------
    request
        What was asked, for the answer to show; kept as it is.
    priority
        Of the fits that wait, those of higher priority are begun first.
    start_state
        Where the fit ended that this one starts from, as `Standing.to_bytes` makes it: a copy of its own, so that
        it does not depend on that fit any more.
    parent
        The fit whose remedy this one is.
    """

    dataset: Dataset
    task: FitTask
    request: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    start_state: bytes | None = None
    parent: UUID | None = None

    @cached_property
    def task_text(self) -> str:
        return TASK.encode(self.task)

    @cached_property
    def digest(self) -> bytes | None:
        """What identical fits share; None where an answer is not given to another request.

        That is where it goes by the clock, or comes from TensorFlow, whose sums differ from one run to the next.
        """
        if not _is_deterministic(self.task):
            return None
        start = None if self.start_state is None else hashlib.sha256(self.start_state).hexdigest()
        parent = None if self.parent is None else self.parent.hex
        parts = [__version__, self.dataset.digest, self.task_text, start, sorted(self.labels.items()), parent]
        return hashlib.sha256(json.dumps(parts).encode()).digest()


@dataclass(frozen=True)
class Key:
    """The name that a client gave to a request, so that it can be sent again, and the digest of that request."""

    name: str
    digest: bytes


def _is_deterministic(task: FitTask) -> bool:
    solver = task.solver
    return not isinstance(solver, Descent) or (solver.backend == "numpy" and solver.stop.max_seconds is None)
