"""statsmodels' `OLS` and `WLS` with their default method, emulated.

The algorithm is what statsmodels documents as ``method="pinv"`` (`statsmodels.regression.linear_model`,
`statsmodels.tools.tools.pinv_extended`): rows are whitened by sqrt(weight), and the coefficients are the whitened
targets times the Moore-Penrose inverse, in which singular values count above 1e-15 times the largest. The rank it
reports goes by another rule, NumPy's `matrix_rank` of the diagonal matrix of singular values.
"""

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.others.lengths import lengths
from service.fitting.others.printed import Printed, Spectrum, finite_matrices
from service.fitting.others.question import Question

#: pinv_extended's default, whatever the shape.
RCOND = 1e-15


def program(question: Question) -> str:
    """Which of its models the question calls for."""
    return f"statsmodels {'OLS' if question.weights is None else 'WLS'} (pinv), emulated"


def solve(question: Question) -> Printed:
    """pinv(A) Y by A = U S V': V S^+ U' Y.

    Raises
    ------
    LinAlgError
        The singular values were not found.
    OverflowError
        From `finite_matrices`.
    """
    a, y = finite_matrices(question)
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    counts = s > RCOND * s[0]
    inverted = np.where(counts, 1.0 / np.where(counts, s, 1.0), 0.0)
    # The inverse is formed before it meets the targets, as statsmodels does: the order decides the rounding.
    inverse = vt.T @ (inverted[:, None] * u.T)
    kept = int(np.count_nonzero(counts))
    spectrum = Spectrum("the design", s, kept, RCOND, question.terms, lengths(a))
    return Printed(inverse @ y, _reported_rank(s), kept, spectrum, (), len(a))


def _reported_rank(singular_values: FloatArray) -> int:
    """matrix_rank(diag(s)): those above eps times the order of that matrix times the largest."""
    tolerance = singular_values[0] * len(singular_values) * np.finfo(np.float64).eps
    return int(np.count_nonzero(singular_values > tolerance))
