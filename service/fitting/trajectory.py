"""What a descent wrote down, step by step."""

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Losses:
    """The columns of a trajectory that change with the units; (r,) each, NaN where there is nothing to say.

    Attributes
    ----------
    batch_loss
        Loss of the step's batch *before* its update, the penalty inside, what Keras prints for that batch.
    epoch_loss, epoch_rmse
        Over the epoch so far, each batch with the parameters in force when it was met, as Keras shows them: the mean of
        the batch losses weighted by rows, and the root of the mean over rows and targets of the squared residual, times
        the row's weight where there are weights, and without the penalty.
    loss
        Loss on all rows *after* the update, the penalty inside.
    gap
        Euclidean distance of all parameters to the reference after the update.
    coefficients
        (r, m, q) after the update, or None where they were not asked for.
    """

    batch_loss: FloatArray
    epoch_loss: FloatArray
    epoch_rmse: FloatArray
    loss: FloatArray
    gap: FloatArray
    coefficients: FloatArray | None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """r recorded rows in ascending order of step. Row 0 is the start: epoch, batch and rows are 0 there.

    Attributes
    ----------
    step, epoch, batch, rows
        (r,) the update's number, its epoch and its batch within the epoch, all from 1, and the rows in that batch.
    learning_rate
        (r,) the rate of that update; NaN at the start.
    gradient_norm
        (r,) Euclidean norm of the full-data gradient after the update, in descent's units.
    original, scaled
        The rest in the user's units, and in descent's units where those differ (else None).
    """

    terms: tuple[str, ...]
    targets: tuple[str, ...]
    total_steps: int
    step: IntArray
    epoch: IntArray
    batch: IntArray
    rows: IntArray
    learning_rate: FloatArray
    gradient_norm: FloatArray
    original: Losses
    scaled: Losses | None

    @property
    def recorded(self) -> int:
        return len(self.step)

    def to_bytes(self) -> bytes:
        """The arrays as an uncompressed NPZ archive."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        arrays |= {"terms": np.array(self.terms), "targets": np.array(self.targets)}
        for prefix, losses in (("original", self.original), ("scaled", self.scaled)):
            arrays |= {f"{prefix}.{name}": value for name, value in _columns(losses).items()}
        archive = io.BytesIO()
        np.savez(archive, **arrays)
        return archive.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> "Trajectory":
        """The inverse of `to_bytes`."""
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            arrays = dict(archive)
        original = _losses(arrays, "original")
        if original is None:
            raise ValueError("the archive holds no trajectory")
        return cls(
            terms=tuple(str(name) for name in arrays["terms"]),
            targets=tuple(str(name) for name in arrays["targets"]),
            total_steps=int(arrays["total_steps"]),
            original=original,
            scaled=_losses(arrays, "scaled"),
            **{name: arrays[name] for name in _PLAIN if name != "total_steps"},
        )


_PLAIN = ("total_steps", "step", "epoch", "batch", "rows", "learning_rate", "gradient_norm")
_LOSSES = tuple(field.name for field in fields(Losses))


def _columns(losses: Losses | None) -> dict[str, FloatArray]:
    columns = {} if losses is None else {name: getattr(losses, name) for name in _LOSSES}
    return {name: value for name, value in columns.items() if value is not None}


def _losses(arrays: dict[str, Any], prefix: str) -> Losses | None:
    columns = {name: arrays.get(f"{prefix}.{name}") for name in _LOSSES}
    return None if columns["loss"] is None else Losses(**columns)  # type: ignore[arg-type]
