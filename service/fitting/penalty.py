"""What is added to the loss to hold coefficients down."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class L2:
    """Ridge: loss + strength * sum of squared coefficients, in descent's units, the intercept left free.

    Keras's ``kernel_regularizer=L2(strength)``; scikit-learn's ``Ridge(alpha)`` with alpha = strength * n * q for the
    loss ``mse``, alpha = strength for ``sum_squares``. A strength of 0 is no penalty.
    """

    strength: float
    kind: Literal["l2"] = "l2"


Penalty = L2
