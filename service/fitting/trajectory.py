"""What a descent wrote down, step by step: raw rows, and what they say when they are asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.account import Account, Records, weighted

if TYPE_CHECKING:
    told = cached_property
else:

    class told(cached_property):  # noqa: N801 - it is used as `property` is
        """A column, worked out when it is first asked for. What leaves float64 is inf or NaN, without a word."""

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            with np.errstate(all="ignore"):
                return super().__get__(instance, owner)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """r recorded rows in ascending order of step: a whole trajectory, or a part of one.

    Row 0 of a whole one is the start: epoch, batch and rows are 0 there. What a row says does not depend on the rows
    beside it.
    """

    account: Account
    records: Records

    @property
    def terms(self) -> tuple[str, ...]:
        return self.account.terms

    @property
    def targets(self) -> tuple[str, ...]:
        return self.account.targets

    @property
    def recorded(self) -> int:
        return len(self.records)

    @property
    def total_steps(self) -> int:
        return int(self.records["step"][-1])

    @told
    def step(self) -> IntArray:
        """(r,) the update's number, from 1."""
        return np.ascontiguousarray(self.records["step"])

    @told
    def epoch(self) -> IntArray:
        """(r,) the step's epoch, from 1."""
        return self.account.plan.epoch_of(self.step)

    @told
    def batch(self) -> IntArray:
        """(r,) the step's batch within its epoch, from 1."""
        return self.account.plan.batch_of(self.step)

    @told
    def rows(self) -> IntArray:
        """(r,) how many rows that batch has."""
        return self.account.plan.rows_of(self.batch)

    @told
    def learning_rate(self) -> FloatArray:
        """(r,) the rate of that update; NaN at the start."""
        return self.account.rates(self.step)

    @told
    def squares(self) -> FloatArray:
        """(r, q) see `Account.excess_squares`."""
        if self.account.keeps_parameters:
            return self.account.excess_squares(self.records["parameters"])
        return np.ascontiguousarray(self.records["squares"])

    @told
    def gradient_norm(self) -> FloatArray:
        """(r,) Euclidean norm of the full-data gradient after the update, in descent's units."""
        if self.account.keeps_parameters:
            return self.account.gradient_norm(self.records["parameters"])
        return np.ascontiguousarray(self.records["gradient_norm"])

    @cached_property
    def original(self) -> "Losses":
        """The rest in the user's units."""
        return Losses(self, self.account.target_factors)

    @cached_property
    def scaled(self) -> "Losses | None":
        """The rest in descent's units; None where those are the user's."""
        return _ScaledLosses(self, np.ones(len(self.targets))) if self.account.is_scaled else None

    def take(self, places: IntArray | slice) -> "Trajectory":
        """Some of the rows."""
        return Trajectory(self.account, self.records[places])

    def without_parameters(self) -> "Trajectory":
        """The same rows with what is said of their parameters in place of them: little, however many there are."""
        if not self.account.keeps_parameters:
            return self
        account = self.account.without_parameters()
        records = np.empty(self.recorded, account.layout)
        for name in ("step", "batch_squares", "epoch_squares"):
            records[name] = self.records[name]
        self.account.say(self.records["parameters"], records)
        return Trajectory(account, records)

    @classmethod
    def joined(cls, parts: Sequence["Trajectory"]) -> "Trajectory":
        """Parts of one trajectory, in any order, as one."""
        records = parts[0].records if len(parts) == 1 else np.concatenate([part.records for part in parts])
        step = records["step"]
        if (step[1:] < step[:-1]).any():
            records = records[np.argsort(step)]
        return cls(parts[0].account, records)


class Losses:
    """The columns of a trajectory that change with the units, (r,) each, here in the user's.

    NaN where there is nothing to say: at the start, where no batch was met.

    Parameters
    ----------
    factors
        (q,) what squared residuals in descent's units are multiplied by to be in these.
    """

    def __init__(self, trajectory: Trajectory, factors: FloatArray) -> None:
        self._trajectory = trajectory
        self._account = trajectory.account
        self._factors = factors

    @told
    def batch_loss(self) -> FloatArray:
        """Loss of the step's batch *before* its update, the penalty inside, what Keras prints for that batch."""
        rows = self._own_rows
        divisor = rows * len(self._factors) if self._account.loss == "mse" else rows / rows
        losses = self._of_residuals("batch_squares") / divisor
        return losses + self._of_penalty("batch_squares") if self._account.is_penalised else losses

    @told
    def epoch_loss(self) -> FloatArray:
        """The batch losses of the epoch so far, each with the parameters in force when its batch was met.

        Their mean weighted by rows, as Keras shows it.
        """
        mse = self._account.loss == "mse"
        losses = self._mean_square if mse else self._mean_over_rows(self._of_residuals)
        return losses + self._mean_over_rows(self._of_penalty) if self._account.is_penalised else losses

    @told
    def epoch_rmse(self) -> FloatArray:
        """The root of the mean over the rows of the epoch so far, and targets, of the squared residual.

        With row weights the residuals are multiplied by them; without the penalty. As Keras shows it.
        """
        return np.sqrt(self._mean_square)

    @told
    def loss(self) -> FloatArray:
        """Loss on all rows *after* the update, the penalty inside."""
        return self._account.full_loss(self._trajectory.squares)

    @told
    def gap(self) -> FloatArray:
        """Euclidean distance of all parameters to the reference after the update."""
        if self.coefficients is None:
            return np.ascontiguousarray(self._trajectory.records["gap"])
        return self._account.gap(self.coefficients)

    @told
    def coefficients(self) -> FloatArray | None:
        """(r, m, q) after the update; None where they were not asked for."""
        if not self._account.keeps_parameters:
            return None
        return self._account.in_users_units(self._trajectory.records["parameters"])

    @told
    def _own_rows(self) -> FloatArray:
        # NaN, which spreads, at the start.
        rows = self._trajectory.rows
        return np.where(rows == 0, np.nan, rows)

    @told
    def _rows_so_far(self) -> FloatArray:
        return self._account.plan.rows_so_far(self._trajectory.batch) + 0.0 * self._own_rows

    @told
    def _mean_square(self) -> FloatArray:
        return self._of_residuals("epoch_squares") / (self._rows_so_far * len(self._factors))

    def _of_residuals(self, name: str) -> FloatArray:
        return weighted(self._trajectory.records[name][:, 0], self._factors)

    def _of_penalty(self, name: str) -> FloatArray:
        return weighted(self._trajectory.records[name][:, 1], self._factors)

    def _mean_over_rows(self, of: Callable[[str], FloatArray]) -> FloatArray:
        """Keras's mean over an epoch of what is one number a batch, weighted by rows, from its plain sum."""
        # Only the epoch's last batch can be short, so all before it weigh alike.
        batch, epoch = of("batch_squares"), of("epoch_squares")
        mean: FloatArray = self._account.plan.batch_size * (epoch - batch) + self._own_rows * batch
        return mean / self._rows_so_far


class _ScaledLosses(Losses):
    """The same in descent's units."""

    @told
    def loss(self) -> FloatArray:
        return self._account.scaled_full_loss(self._trajectory.squares)

    @told
    def gap(self) -> FloatArray:
        if self.coefficients is None:
            return np.ascontiguousarray(self._trajectory.records["scaled_gap"])
        return self._account.scaled_gap(self.coefficients)

    @told
    def coefficients(self) -> FloatArray | None:
        if not self._account.keeps_parameters:
            return None
        return self._trajectory.records["parameters"].astype(np.float64)
