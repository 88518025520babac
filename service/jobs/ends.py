"""How attempts at fits come to their ends, and what the fits' rows say of it."""

from dataclasses import dataclass
from typing import Any

from service.jobs.messages import Solved
from service.jobs.records import ERROR, PROGRESS, RESULT, FitError, FitStatus, Result


@dataclass(frozen=True, eq=False)
class Cancelled:
    """Somebody asked for that. `solved` is what it had come to; None where it had to be killed, and came to nothing."""

    solved: Solved | None = None


#: Of an attempt, once and for all.
Ending = Solved | FitError | Cancelled

#: Of these the answer hangs on how fast the machine was, or on when somebody lost patience.
_BY_THE_CLOCK = frozenset({"time_limit", "cancelled"})

#: What `end_values` says, and the database's types for it.
END_TYPES = {
    "status": "text",
    "result": "text",
    "progress": "text",
    "error": "text",
    "end_state": "bytea",
    "is_repeatable": "boolean",
}


def end_values(ending: Ending) -> dict[str, Any]:
    """What the row of a fit says of its end. `is_repeatable`: an identical request may be given the same answer."""
    match ending:
        case Solved(report=report) if report.outcome.kind == "cancelled":
            return _values("cancelled", ending)
        case Solved(report=report):
            return _values("succeeded", ending, is_repeatable=report.outcome.kind not in _BY_THE_CLOCK)
        case Cancelled(solved=solved):
            return _values("cancelled", solved)
        case FitError():
            return _values("failed", None) | {"error": ERROR.encode(ending)}


def solution_of(ending: Ending) -> Solved | None:
    """What the attempt came to; None where that is nothing."""
    match ending:
        case Cancelled(solved=solved):
            return solved
        case Solved():
            return ending
        case FitError():
            return None


def _values(status: FitStatus, solved: Solved | None, *, is_repeatable: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(END_TYPES) | {"status": status, "is_repeatable": is_repeatable}
    if solved is not None:
        values["result"] = RESULT.encode(Result(solved.report, solved.trajectory))
        values["progress"] = None if solved.progress is None else PROGRESS.encode(solved.progress)
        values["end_state"] = solved.end_state
    return values
