"""The two losses, and the factor in which they differ.

``mse`` is the mean over rows of the mean over targets of the squared residual, Keras's ``mean_squared_error``;
``sum_squares`` is the sum over rows and targets. Neither carries a factor 1/2, so the gradient of ``mse`` is
(2 / nq) A'(AW - Y) and that of ``sum_squares`` 2 A'(AW - Y), and the same learning rate means different steps.
Row weights multiply the squared residuals and nothing else: ``mse`` is then the weighted sum over the number of rows,
those of weight 0 included, as Keras's `sample_weight` makes it.
"""

from typing import Literal

Loss = Literal["mse", "sum_squares"]


def divisor(loss: Loss, rows: int, targets: int) -> float:
    """What the sum of squares over `rows` rows and `targets` targets is divided by."""
    return float(rows * targets) if loss == "mse" else 1.0
