"""What the database keeps of a fit, and its way in and out of JSON.

JSON has no NaN and no infinity: here they are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which come
back as numbers. Unions of the domain (solvers, optimizers, starts) are told apart by their `kind`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import to_json

from service.fitting.solution import Report
from service.fitting.task import FitTask, Progress

T = TypeVar("T")

FitStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class FitProgress(Progress):
    """How far a fit has got, and how fast it is getting there.

    Attributes
    ----------
    steps_per_second
        Over the last few seconds; None where that is not known yet, or the fit no longer runs.
    seconds_left
        Until all its steps are taken at this rate; a stop rule may end it before. None where there is no rate.
    """

    steps_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class FitError:
    """Why a fit failed: a code for programs (``crashed``, ``invalid``, ``internal``) and a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True)
class TrajectoryExtent:
    """How long a stored trajectory is, known without reading it."""

    recorded: int
    total_steps: int


@dataclass(frozen=True)
class Result:
    """What a succeeded fit keeps in its own row; the trajectory itself lies in blocks."""

    report: Report
    trajectory: TrajectoryExtent | None


@dataclass(frozen=True)
class FitRecord:
    """One fit as the database has it.

    Attributes
    ----------
    version
        Grows with every change a client can see.
    attempt
        How often the fit was started; a start that a shutdown took back does not count.
    parent
        The fit whose remedy this one is, there still or not; None for one that was asked for as it is.
    report, trajectory
        None until it succeeded; `trajectory` also where no steps were taken.
    error
        None unless it failed.
    cached
        Whether it is given in answer to a request that came when it was finished already.
    """

    id: UUID
    status: FitStatus
    version: int
    attempt: int
    parent: UUID | None
    dataset_id: str
    request: dict[str, Any]
    labels: dict[str, str]
    progress: FitProgress | None
    report: Report | None
    trajectory: TrajectoryExtent | None
    error: FitError | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cached: bool = False


class Codec(Generic[T]):
    """One of the domain's types as JSON text: `decode(encode(x))` is `x`."""

    def __init__(self, kind: type[T]) -> None:
        self._adapter = TypeAdapter(kind)

    def encode(self, value: T) -> str:
        return to_json(value, inf_nan_mode="strings").decode()

    def decode(self, text: str) -> T:
        """Raises `pydantic.ValidationError` for text that this version of the service cannot read."""
        return self._adapter.validate_json(text)


TASK = Codec(FitTask)
PROGRESS = Codec(FitProgress)
RESULT = Codec(Result)
ERROR = Codec(FitError)
