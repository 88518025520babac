"""How to minimise: `Exact`, or `Descent` with everything it needs. Options only; `fit` does the work."""

from dataclasses import dataclass, field
from typing import Literal

from service.fitting.descent.optimizers import Optimizer, Sgd
from service.fitting.descent.start import Start, Zeros
from service.fitting.penalty import Penalty

Backend = Literal["numpy", "tensorflow"]
Precision = Literal["float32", "float64"]


@dataclass(frozen=True)
class Exact:
    """Least squares in closed form, penalised or not: the reference itself."""

    penalty: Penalty | None = None
    kind: Literal["exact"] = "exact"


@dataclass(frozen=True)
class Stop:
    """When to stop before the last step; looked at once an epoch, None is never.

    Attributes
    ----------
    gradient_tolerance
        Euclidean norm of the full-data gradient in descent's units, at or below.
    loss_tolerance
        Absolute change of the full-data loss, in the user's units, from one epoch's end to the next, at or below.
    gap_tolerance
        Euclidean distance to the reference, in the user's units, at or below.
    max_seconds
        Wall-clock seconds of descent.
    """

    gradient_tolerance: float | None = None
    loss_tolerance: float | None = None
    gap_tolerance: float | None = None
    max_seconds: float | None = None

    @property
    def looks_at_epochs(self) -> bool:
        """Whether every epoch's end has to be seen."""
        return any(rule is not None for rule in (self.gradient_tolerance, self.loss_tolerance, self.gap_tolerance))


@dataclass(frozen=True)
class Descent:
    """Gradient descent. `epochs` and `max_steps`, whichever ends first; `batch_size` None is all rows.

    The whole penalty is added to the loss of every batch, as Keras does.
    """

    backend: Backend = "numpy"
    dtype: Precision = "float64"
    optimizer: Optimizer = field(default_factory=Sgd)
    epochs: int = 100
    max_steps: int | None = None
    batch_size: int | None = None
    shuffle: bool = False
    drop_last: bool = False
    seed: int = 0
    start: Start = field(default_factory=Zeros)
    stop: Stop = field(default_factory=Stop)
    penalty: Penalty | None = None
    kind: Literal["descent"] = "descent"


Solver = Exact | Descent
