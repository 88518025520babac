"""R's `lm`, emulated.

The algorithm is that of `lm.fit` and `lm.wfit` as R documents them: rows of weight 0 are left out, the others
multiplied by sqrt(weight); a Householder QR with limited column pivoting and tolerance 1e-7 (`dqrdc2`); back
substitution for the columns within the rank, and NA for the others. Several targets share one factorisation (an "mlm").
"""

import numpy as np
from scipy.linalg import solve_triangular

from service.fitting.arrays import FloatArray
from service.fitting.others.dqrdc2 import LimitedPivotingQR, factor
from service.fitting.others.printed import Omission, Printed, finite_matrices
from service.fitting.others.question import Question

PROGRAM = "R lm (dqrdc2), emulated"
#: lm's default.
TOLERANCE = 1e-7


def solve(question: Question) -> Printed:
    """The coefficients with NaN for R's NA.

    Raises
    ------
    OverflowError
        From `finite_matrices`, where R stops with "NA/NaN/Inf in 'x'".
    LinAlgError
        A pivot within the rank is 0.
    """
    a, y = finite_matrices(question)
    if question.weights is not None:
        used = question.weights != 0.0
        a, y = a[used], y[used]
    coefficients = np.full((a.shape[1], y.shape[1]), np.nan)
    if len(a) == 0:
        left_out = tuple(Omission(term, np.nan, is_zero=False) for term in question.terms)
        return Printed(coefficients, 0, 0, None, left_out, 0)
    factors = factor(a, y, TOLERANCE)
    if factors.rank > 0:
        within = factors.columns[: factors.rank]
        coefficients[within] = solve_triangular(factors.triangle, factors.projected, check_finite=False)
    return Printed(coefficients, factors.rank, factors.rank, None, _omissions(question, factors, a), len(a))


def _omissions(question: Question, factors: LimitedPivotingQR, a: FloatArray) -> tuple[Omission, ...]:
    return tuple(
        Omission(question.terms[j], float(factors.shares[j]), is_zero=not a[:, j].any())
        for j in sorted(factors.columns[factors.rank :])
    )
