"""What of a trajectory is shown to those who watch a fit: what fits on a screen, and is read in no time."""

from service.fitting.trajectory import Trajectory

#: Rows that are shown of a whole trajectory.
MOST_POINTS = 1000
#: Rows of more coefficients than that are shown without them.
MOST_COEFFICIENTS = 24


def as_shown(rows: Trajectory) -> Trajectory:
    """The rows, without their parameters where these are many: then their account is small too."""
    few = len(rows.terms) * len(rows.targets) <= MOST_COEFFICIENTS
    return rows if few else rows.without_parameters()
