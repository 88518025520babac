"""A problem: a dataset read with a model, in the user's units and in those descent runs in."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.fitting.loss import Loss, divisor
from service.fitting.model import Model
from service.fitting.penalty import Penalty
from service.fitting.reference.design import Design
from service.fitting.scaling import CENTRING, Scaling, Units, measure


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
    def features(self) -> FloatArray:
        """Features (n, p), user's units; see `Dataset.columns`."""
        return self.dataset.columns(self.model.features)

    @cached_property
    def x(self) -> FloatArray:
        """Features and their powers (n, p * degree) rounded to float64, user's units; for descent only."""
        if self.model.degree == 1:
            return self.features
        return Design(self.features, intercept=False, degree=self.model.degree).plain()

    @cached_property
    def y(self) -> FloatArray:
        """Targets (n, q), user's units."""
        return self.dataset.columns(self.model.targets)

    @cached_property
    def weights(self) -> FloatArray | None:
        """Row weights (n,), or None where all rows weigh alike."""
        return None if self.model.weights is None else self.dataset.columns((self.model.weights,))[:, 0]

    @cached_property
    def divisor(self) -> float:
        """What the sum of squares is divided by; rows of weight 0 count, as for Keras."""
        return divisor(self.loss, self.dataset.rows, len(self.model.targets))

    @cached_property
    def units(self) -> Units:
        """The way between descent's units and the user's; powers are scaled each by itself."""
        return Units(
            measure(self.scaling.features, self.features, self.model.degree),
            measure(self.scaling.targets, self.y),
            self.model.intercept,
        )

    @cached_property
    def scaled_x(self) -> FloatArray:
        """`x` in descent's units; the same array where nothing is scaled."""
        return self.x if self.scaling.features == "none" else self.units.features.apply(self.x)

    @cached_property
    def scaled_y(self) -> FloatArray:
        """Targets (n, q) in descent's units; the same array where nothing is scaled."""
        return self.y if self.scaling.targets == "none" else self.units.targets.apply(self.y)

    @cached_property
    def largest(self) -> float:
        """The largest size of a number in the weighted rows in descent's units; NaN where one of them is none."""
        x = self.x if self.scaling.features == "none" else self.units.features.apply(self.x)
        y = self.y if self.scaling.targets == "none" else self.units.targets.apply(self.y)
        parts = (x, y, np.ones((self.dataset.rows, 1)))
        return float(np.max([np.abs(self.weighted(part)).max(initial=0.0) for part in parts]))

    def design(self, penalty: Penalty | None = None) -> Design:
        """The left side in the user's units; the data are not copied.

        The penalties of descent's units come over with each feature's spread d_j, whatever the target's: they are
        strength * divisor * d_j^2 beside the plain sum of squares.
        """
        penalties = self.penalties(penalty)
        if penalties is not None:
            penalties = self.divisor * penalties
            if self.scaling.features != "none":
                penalties[int(self.model.intercept) :] *= np.square(self.units.features.spread)
        return Design(self.features, self.model.intercept, self.model.degree, self.weights, penalties)

    def scaled_design(self, penalty: Penalty | None = None) -> Design:
        """The left side in descent's units, powers being features of their own there."""
        penalties = self.penalties(penalty)
        penalties = None if penalties is None else self.divisor * penalties
        return Design(self.scaled_x, self.model.intercept, 1, self.weights, penalties)

    def penalties(self, penalty: Penalty | None) -> FloatArray | None:
        """(m,) what is added to the loss for each parameter's square in descent's units; None where that is nothing."""
        if penalty is None or penalty.strength == 0.0 or not self.model.features:
            return None
        intercept = int(self.model.intercept)
        penalties = np.full(intercept + len(self.model.features) * self.model.degree, penalty.strength)
        penalties[:intercept] = 0.0
        return penalties

    def weighted(self, values: FloatArray) -> FloatArray:
        """Rows (n, k) times the roots of their weights, which makes plain squares weighted ones."""
        return values if self.weights is None else values * np.sqrt(self.weights)[:, None]


def _check_scaling(model: Model, scaling: Scaling) -> None:
    if model.intercept:
        return
    for part, kind in (("features", scaling.features), ("targets", scaling.targets)):
        if kind in CENTRING:
            raise InvalidProblem(
                ("scaling", part),
                f"{kind!r} centres the {part}, and a model without an intercept cannot take the centre up.",
                "'none' or 'maxabs', or \"intercept\": true in the model",
            )
