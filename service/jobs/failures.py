"""Why fits fail that were accepted, in words for those who asked for them."""

from service.fitting.errors import InvalidProblem
from service.jobs.records import FitError


def crashed(attempts: int, how: str) -> FitError:
    """The process that ran it ended without an answer in each attempt; `how` the last one did."""
    return FitError(
        "crashed", f"The process that ran the fit {how}, in the last of {attempts} attempts. It is not tried again."
    )


def out_of_time(seconds: float, grace_seconds: float) -> FitError:
    """It ran for as long as the server allows, and did not stop then."""
    return FitError(
        "time_limit",
        f"The fit ran for {seconds:g} s, the most that this server allows, and did not stop in the {grace_seconds:g} s"
        " after that. It is not tried again: ask for fewer rows, columns or standard errors.",
    )


def invalid(refusal: InvalidProblem) -> FitError:
    place = "/".join(str(part) for part in refusal.place)
    return FitError("invalid", f"/{place}: {refusal.message} Allowed: {refusal.allowed}.")


def damaged(how: str) -> FitError:
    """Its dataset is not what was submitted; `how` says what became of it."""
    return FitError("dataset_damaged", f"{how} Submit the data again.")


def internal(incident: str) -> FitError:
    """It went wrong inside the service, for a reason that is for the log only."""
    return FitError("internal", f"The fit failed inside the service; its log has the reason under {incident}.")
