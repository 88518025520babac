"""Trajectories as revision 0001 of the database stored them: every column in one NPZ archive.

Newer ones hold raw rows (`service.fitting.trajectory`), which these cannot be turned into.
"""

import io
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ArchivedLosses:
    """See `service.fitting.trajectory.Losses`."""

    batch_loss: FloatArray
    epoch_loss: FloatArray
    epoch_rmse: FloatArray
    loss: FloatArray
    gap: FloatArray
    coefficients: FloatArray | None

    def take(self, places: IntArray) -> "ArchivedLosses":
        """Some of the rows."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in _LOSSES}
        return replace(self, **{name: value[places] for name, value in kept.items() if value is not None})


@dataclass(frozen=True, eq=False)
class ArchivedTrajectory:
    """See `service.fitting.trajectory.Trajectory`."""

    terms: tuple[str, ...]
    targets: tuple[str, ...]
    step: IntArray
    epoch: IntArray
    batch: IntArray
    rows: IntArray
    learning_rate: FloatArray
    gradient_norm: FloatArray
    original: ArchivedLosses
    scaled: ArchivedLosses | None

    @classmethod
    def from_bytes(cls, body: bytes) -> "ArchivedTrajectory":
        """Read an archive."""
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            arrays = dict(archive)
        original = _losses(arrays, "original")
        if original is None:
            raise ValueError("the archive holds no trajectory")
        return cls(
            terms=tuple(str(name) for name in arrays["terms"]),
            targets=tuple(str(name) for name in arrays["targets"]),
            original=original,
            scaled=_losses(arrays, "scaled"),
            **{name: arrays[name] for name in _PLAIN},
        )

    def take(self, places: IntArray) -> "ArchivedTrajectory":
        """Some of the rows."""
        scaled = None if self.scaled is None else self.scaled.take(places)
        plain = {name: getattr(self, name)[places] for name in _PLAIN}
        return replace(self, original=self.original.take(places), scaled=scaled, **plain)


_PLAIN = ("step", "epoch", "batch", "rows", "learning_rate", "gradient_norm")
_LOSSES = tuple(field.name for field in fields(ArchivedLosses))


def _losses(arrays: dict[str, Any], prefix: str) -> ArchivedLosses | None:
    columns = {name: arrays.get(f"{prefix}.{name}") for name in _LOSSES}
    return None if columns["loss"] is None else ArchivedLosses(**columns)  # type: ignore[arg-type]
