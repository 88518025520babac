"""A trajectory as JSON: columns side by side, one entry a recorded step."""

from typing import Literal

from pydantic import Field

from service.api.schemas.bodies import ResponsePart

Rounds = list[int] | None
Reals = list[float | None] | None


class TrajectoryColumns(ResponsePart):
    """Entries of a row belong to one step; row 0 is the start. A column that was not asked for is null."""

    step: Rounds = Field(description="The update's number; 0 is the start.")
    epoch: Rounds = Field(description="The pass over the rows it belongs to, from 1.")
    batch: Rounds = Field(description="The batch within its epoch, from 1.")
    rows: Rounds = Field(description="Rows in the batch.")
    learning_rate: Reals
    batch_loss: Reals = Field(description="Loss of the batch before its update, as Keras prints it.")
    epoch_loss: Reals = Field(description="Running mean over the epoch so far, as Keras shows it.")
    epoch_rmse: Reals = Field(description="Running root mean squared error over the epoch so far.")
    loss: Reals = Field(description="Loss on all rows after the update.")
    gradient_norm: Reals = Field(description="Norm of the full-data gradient, in descent's units.")
    gap: Reals = Field(description="Distance of all parameters to the reference after the update.")
    coefficients: dict[str, dict[str, list[float | None]]] | None = Field(
        description="By target, then by term, after the update."
    )


class Trajectory(ResponsePart):
    """What a descent wrote down. `columns` is null where it is too long to be sent along with the fit."""

    recorded: int = Field(description="Rows that were written down.")
    total_steps: int = Field(description="Steps that were taken.")
    units: Literal["original", "scaled"] = Field(description="The user's, or those descent ran in.")
    href: str
    columns: TrajectoryColumns | None
