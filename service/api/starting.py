"""Where a fit starts that goes on from another: what is known of the end of that one."""

from uuid import UUID

import numpy as np

from service.api.schemas import solver as asked
from service.fitting.descent.standing import Standing
from service.fitting.errors import InvalidProblem
from service.fitting.solution import Report
from service.jobs.fits import FitStore
from service.jobs.transitions import is_final

_ALLOWED = "the id of a fit that has succeeded"


async def end_of_the_fit_before(solver: asked.Solver, fits: FitStore, sibling: UUID | None = None) -> Standing | None:
    """Where the fit ended that the solver starts from; None where it starts from none.

    Parameters
    ----------
    sibling
        A fit that has started from there too: it has kept what the first may have taken with it when it was deleted.

    Raises
    ------
    InvalidProblem
        There is no such fit, or it has not come to an end that can be gone on from.
    """
    if not isinstance(solver, asked.Descent) or not isinstance(solver.start, asked.FitStart):
        return None
    fit_id = solver.start.fit
    record = await fits.get(fit_id)
    if record is None:
        kept = None if sibling is None else await fits.start_state(sibling)
        if kept is None:
            raise _refused("There is no fit of this id.")
        return Standing.from_bytes(kept)
    if not is_final(record.status):
        raise _refused(f"That fit is still {record.status}.")
    if record.report is None:
        raise _refused(f"That fit has {record.status}: it has come to no coefficients.")
    state = await fits.end_state(fit_id)
    return _at_its_coefficients(record.report) if state is None else Standing.from_bytes(state)


def _at_its_coefficients(report: Report) -> Standing:
    """Of a fit that took no steps, and so has left nothing else to go on from."""
    found = report.coefficients
    targets = tuple(dict.fromkeys(coefficient.target for coefficient in found))
    terms = tuple(coefficient.term for coefficient in found[: len(found) // len(targets)])
    estimates = np.array([coefficient.estimate for coefficient in found])
    return Standing.at(terms, targets, estimates.reshape(len(targets), len(terms)).T.copy())


def _refused(message: str) -> InvalidProblem:
    return InvalidProblem(("solver", "start", "fit"), message, _ALLOWED)
