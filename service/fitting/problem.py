"""A problem: a dataset read with a model, in the user's units and in those descent runs in."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.loss import Loss
from service.fitting.model import Model
from service.fitting.scaling import Scaling, Units, measure


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be minimised.

    Raises
    ------
    InvalidProblem
        A scaling that centres, with a model that has no intercept to take the centre up.
    """

    dataset: Dataset
    model: Model
    scaling: Scaling = field(default_factory=Scaling)
    loss: Loss = "mse"

    def __post_init__(self) -> None:
        _check_scaling(self.model, self.scaling)

    @cached_property
    def x(self) -> FloatArray:
        """Features (n, p), user's units."""
        return self.dataset.columns(self.model.features)

    @cached_property
    def y(self) -> FloatArray:
        """Targets (n, q), user's units."""
        return self.dataset.columns(self.model.targets)

    @cached_property
    def units(self) -> Units:
        """The way between descent's units and the user's."""
        return Units(
            measure(self.scaling.features, self.x),
            measure(self.scaling.targets, self.y),
            self.model.intercept,
        )

    @cached_property
    def scaled_x(self) -> FloatArray:
        """Features (n, p) in descent's units; the same array where nothing is scaled."""
        return self.x if self.scaling.features == "none" else self.units.features.apply(self.x)

    @cached_property
    def scaled_y(self) -> FloatArray:
        """Targets (n, q) in descent's units; the same array where nothing is scaled."""
        return self.y if self.scaling.targets == "none" else self.units.targets.apply(self.y)

    def design(self, x: FloatArray) -> FloatArray:
        """A = [1 X] (n, m), or X without an intercept."""
        return np.hstack([np.ones((len(x), 1)), x]) if self.model.intercept else x


def _check_scaling(model: Model, scaling: Scaling) -> None:
    if model.intercept:
        return
    for part, kind in (("features", scaling.features), ("targets", scaling.targets)):
        if kind != "none":
            raise InvalidProblem(
                ("scaling", part),
                f"{kind!r} centres the {part}, and a model without an intercept cannot take the centre up.",
                "'none', or \"intercept\": true in the model",
            )
