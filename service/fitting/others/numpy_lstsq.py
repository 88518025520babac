"""`numpy.linalg.lstsq`, really run."""

import numpy as np

from service.fitting.others.lengths import lengths
from service.fitting.others.printed import Printed, Spectrum, finite_matrices
from service.fitting.others.question import Question

PROGRAM = f"numpy.linalg.lstsq {np.__version__}"


def solve(question: Question) -> Printed:
    """lstsq(A, Y, rcond=None), rows times sqrt(weight).

    LAPACK's gelsd: the solution of least norm by singular values, of which those above eps max(n, m) times the largest
    count (NumPy's documentation of `lstsq`, `rcond`).

    Raises
    ------
    LinAlgError
        The singular values were not found.
    OverflowError
        From `finite_matrices`.
    """
    a, y = finite_matrices(question)
    coefficients, _, rank, singular_values = np.linalg.lstsq(a, y, rcond=None)
    spectrum = Spectrum(
        of="the design",
        singular_values=np.asarray(singular_values, dtype=np.float64),
        kept=int(rank),
        cutoff=float(np.finfo(np.float64).eps) * max(a.shape),
        terms=question.terms,
        sizes=lengths(a),
    )
    return Printed(np.asarray(coefficients, dtype=np.float64), int(rank), int(rank), spectrum, (), len(a))
