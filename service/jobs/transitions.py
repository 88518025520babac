"""Which status may follow which. Every UPDATE of a fit's status asks here for the statuses it may come from."""

from collections.abc import Mapping

from service.jobs.records import FitStatus

FOLLOWERS: Mapping[FitStatus, frozenset[FitStatus]] = {
    "queued": frozenset({"running", "failed", "cancelled"}),
    # To itself: the next attempt after a crash. Back to queued: its worker shuts down, or died.
    "running": frozenset({"running", "queued", "succeeded", "failed", "cancelled"}),
    "succeeded": frozenset(),
    # Only where a client asks for it.
    "failed": frozenset({"queued"}),
    "cancelled": frozenset(),
}

#: Nobody works at a fit with one of these.
FINISHED: frozenset[FitStatus] = frozenset({"succeeded", "failed", "cancelled"})


def sources(status: FitStatus) -> list[FitStatus]:
    """The statuses a fit may have just before those who work at it, or recover it, give it this one: no finished ones.

    Otherwise a worker that comes late could put a fit that has failed back into the queue.
    """
    return [source for source, followers in FOLLOWERS.items() if status in followers and source not in FINISHED]


def revivable(status: FitStatus) -> list[FitStatus]:
    """The finished statuses from which a client may have a fit get this one."""
    return [source for source, followers in FOLLOWERS.items() if status in followers and source in FINISHED]


def is_final(status: FitStatus) -> bool:
    """Whether a fit with this status is finished, and stays so unless a client asks for it again."""
    return status in FINISHED
