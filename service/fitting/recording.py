"""Which steps of a descent are written down."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.fitting.arrays import IntArray

DEFAULT_LIMIT = 10_000


@dataclass(frozen=True)
class Recording:
    """Every step, every epoch's last step, or every `every` steps; thinned evenly past `limit` rows.

    Row 0 (the start) and the last step are always kept and count towards `limit`.
    """

    every: Literal["step", "epoch"] | int = "epoch"
    coefficients: bool = True
    limit: int = DEFAULT_LIMIT


def recorded_steps(recording: Recording, total_steps: int, steps_per_epoch: int) -> IntArray:
    """The steps to record, ascending, from 0 to `total_steps`, at most ``recording.limit`` of them."""
    if recording.every == "step":
        stride = 1
    elif recording.every == "epoch":
        stride = steps_per_epoch
    else:
        stride = recording.every
    regular = total_steps // stride + 1
    count = regular + (total_steps % stride != 0)
    kept = np.arange(count) if count <= recording.limit else _evenly(count, recording.limit)
    steps: IntArray = np.minimum(kept.astype(np.int64) * stride, total_steps)
    return steps


def _evenly(count: int, limit: int) -> IntArray:
    # Integer arithmetic: the first and the last are met exactly, and no two round to the same row.
    return np.arange(limit, dtype=np.int64) * (count - 1) // (limit - 1)
