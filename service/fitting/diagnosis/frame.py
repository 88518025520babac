"""What a linear descent is worked out from: its gap along orthonormal directions, and the numbers of its rule."""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.optimizers import Sgd
from service.fitting.descent.setting import Setting
from service.fitting.scaling import Scale, Units

#: Of a vector's length, what rounding leaves of it where it has no other part.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Push:
    """What `Sgd` makes of a gradient, the same at each step; `batch_maps` has the recursions."""

    rate: float
    momentum: float
    nesterov: bool
    weight_decay: float

    @classmethod
    def of(cls, setting: Setting) -> "Push":
        """With the rate that the working precision makes of it."""
        rule, sgd = setting.beginning.rule, setting.solver.optimizer
        assert isinstance(sgd, Sgd)
        return cls(rule.first_rate, sgd.momentum, sgd.nesterov, sgd.weight_decay or 0.0)

    @property
    def decay(self) -> float:
        """The share of a parameter that a step takes away."""
        return self.rate * self.weight_decay

    @property
    def ahead(self) -> float:
        """By how many times rate and gradient a step moves the parameters themselves, the velocity apart."""
        return 1.0 + self.momentum if self.nesterov else 1.0

    @property
    def carried(self) -> float:
        """By how many times the velocity before it a step moves them."""
        return self.momentum**2 if self.nesterov else self.momentum


@dataclass(frozen=True, eq=False)
class Frame:
    """g orthonormal directions that a descent stays in, with all that it starts from along them.

    Attributes
    ----------
    basis
        (m, g) the spectrum's directions; and after them those that nothing but a velocity from elsewhere goes along,
        where the loss is flat.
    eigenvalues
        (g,) of the Hessian; 0 where it is flat.
    gap, velocity, optimum
        (g, q) the parts of W - W* and of the velocity at the start, and of W*.
    """

    basis: FloatArray
    eigenvalues: FloatArray
    gap: FloatArray
    velocity: FloatArray
    optimum: FloatArray

    @classmethod
    def of(cls, setting: Setting) -> "Frame":
        """The same for all settings with the same data and start."""
        return setting.started.once("frame", lambda: cls._of(setting))

    @classmethod
    def _of(cls, setting: Setting) -> "Frame":
        spectrum, optimum = setting.spectrum, setting.optimum.scaled
        velocity = setting.beginning.state.slots[0].astype(np.float64)
        other = _other_directions(spectrum.vectors, velocity)
        basis = np.hstack([spectrum.vectors, other])
        eigenvalues = np.append(spectrum.eigenvalues, np.zeros(other.shape[1]))
        return cls(basis, eigenvalues, *(basis.T @ part for part in (setting.gap_at_start, velocity, optimum)))


def _other_directions(vectors: FloatArray, velocity: FloatArray) -> FloatArray:
    """(m, e) orthonormal directions that hold what the vectors do not hold of a velocity (m, q)."""
    rest = velocity - vectors @ (vectors.T @ velocity)
    if not rest.any():
        return rest[:, :0]
    directions, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    return np.asarray(directions[:, sizes > _ROUNDING * np.linalg.norm(velocity)])


def in_users_units(directions: FloatArray, units: Units) -> FloatArray:
    """Directions (m, k) of descent's units in the user's, but for what each target's parts are still multiplied by."""
    k = directions.shape[1]
    return Units(units.features, Scale(np.zeros(k), np.ones(k)), units.intercept).to_user(directions)
