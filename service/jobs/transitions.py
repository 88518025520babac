"""Which status may follow which. Every UPDATE of a fit's status asks here for the statuses it may come from."""

from collections.abc import Mapping

from service.jobs.records import FitStatus

FOLLOWERS: Mapping[FitStatus, frozenset[FitStatus]] = {
    "queued": frozenset({"running", "failed", "cancelled"}),
    # To itself: the next attempt after a crash. Back to queued: its worker shuts down, or died.
    "running": frozenset({"running", "queued", "succeeded", "failed", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}


def sources(status: FitStatus) -> list[FitStatus]:
    """The statuses a fit may have just before it gets this one."""
    return [source for source, followers in FOLLOWERS.items() if status in followers]


def is_final(status: FitStatus) -> bool:
    """Whether a fit with this status will never change again."""
    return not FOLLOWERS[status]
