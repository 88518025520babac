"""What a descent still remembers of its start: the directions in which it has hardly moved.

With the Hessian H = (2/d) R'R in descent's units, plain descent shrinks the gap along each eigenvector by a factor of
its own, and along one with a small eigenvalue hardly at all; where the loss is flat, no descent moves. So starts that
differ end in answers that differ there, and agree in all other directions.
"""

from collections.abc import Sequence

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.account import Optimum
from service.fitting.reference.null_space import sum_in_words
from service.fitting.solution import Remembered

#: The eigenvectors cost O(m^3): beyond so many parameters they are not looked for.
MOST_PARAMETERS = 200
MOST_REMEMBERED = 20
#: A gap counts where it changes one of the first three digits of a coefficient,
_DIGITS = 1e-3
#: the coefficient being no smaller than this beside the largest.
_SMALLEST = 1e-6
#: Terms with a smaller part in a direction are left out of its name.
_IN_NAME = 1e-2


def remembered(
    terms: Sequence[str], optimum: Optimum, divisor: float, start: FloatArray, end: FloatArray
) -> tuple[Remembered, ...]:
    """The directions in which a descent from `start` to `end` (m, q) is nearer to the start than to the optimum.

    |G_end - G_start| <= |G_start| / 2 for the gaps along the direction, and large enough to be seen in a coefficient;
    the largest gaps first.

    Parameters
    ----------
    divisor
        d, what the sum of squares is divided by.
    start, end
        In descent's units.
    """
    numbers = (optimum.triangle, optimum.scaled, start, end)
    if len(terms) > MOST_PARAMETERS or not all(np.isfinite(array).all() for array in numbers):
        return ()
    before, after = start - optimum.scaled, end - optimum.scaled
    smallest = _smallest_seen(optimum.scaled)
    # No part of a gap is longer than the whole: most fits that have come near the optimum are done with here.
    if (np.sqrt(np.square(after).sum(axis=0)) <= smallest).all():
        return ()
    vectors, eigenvalues = _directions(optimum.triangle, before)
    eigenvalues = 2.0 / divisor * eigenvalues
    at_start, at_end = vectors.T @ before, vectors.T @ after
    sizes = np.linalg.norm(at_start, axis=1)
    kept = np.linalg.norm(at_end - at_start, axis=1) <= 0.5 * sizes
    kept &= (np.abs(vectors.T[:, :, None] * at_end[:, None, :]) > smallest).any(axis=(1, 2))
    ends = np.linalg.norm(at_end, axis=1)
    chosen = [int(i) for i in np.argsort(-ends, kind="stable") if kept[i]][:MOST_REMEMBERED]
    return tuple(_remembered(terms, vectors[:, i], float(eigenvalues[i]), at_start[i], at_end[i]) for i in chosen)


def in_words(found: Sequence[Remembered]) -> str:
    """One sentence about the largest gap, and how many more there are; nothing where there is none."""
    if not found:
        return ""
    first, others = found[0], len(found) - 1
    still = "still where it started" if first.left > 0.9 else "still nearer to its start than to the reference"
    left = f"{100.0 * first.left:.4g} % of that gap is left"
    more = "" if others == 0 else f", and at least half along {others} other direction{'s' if others > 1 else ''}"
    return f" Along {first.name} the fit is {still}: {left}{more}."


def _directions(triangle: FloatArray, before: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Orthonormal columns (m, k) and the eigenvalues of R'R that belong to them (k,).

    All of its eigenvectors; but of those along which it vanishes, which are no directions of their own, the few that
    hold all of the gap at the start `before` (m, q).
    """
    m = triangle.shape[1]
    _, singular, rows = np.linalg.svd(triangle, full_matrices=True)
    singular = np.append(singular, np.zeros(m - len(singular)))
    flat = singular <= m * np.finfo(np.float64).eps * singular.max(initial=0.0)
    steep, level = rows[~flat].T, rows[flat].T
    held, _, _ = np.linalg.svd(level.T @ before, full_matrices=False)
    vectors = np.hstack([steep, level @ held])
    return vectors, np.append(np.square(singular[~flat]), np.zeros(held.shape[1]))


def _smallest_seen(optimum: FloatArray) -> FloatArray:
    """(m, q) above what a change is seen in a coefficient's leading digits."""
    sizes = np.abs(optimum)
    smallest: FloatArray = _DIGITS * np.maximum(sizes, _SMALLEST * sizes.max(axis=0))
    return smallest


def _remembered(
    terms: Sequence[str], vector: FloatArray, eigenvalue: float, at_start: FloatArray, at_end: FloatArray
) -> Remembered:
    vector = vector / np.sign(vector[_in_name(vector)[0]])
    return Remembered(
        name=_name(terms, vector),
        terms=tuple(terms),
        coefficients=tuple(vector.tolist()),
        eigenvalue=eigenvalue,
        gap_at_start=float(np.linalg.norm(at_start)),
        gap_at_end=float(np.linalg.norm(at_end)),
        left=float((at_end * at_start).sum() / np.square(at_start).sum()),
    )


def _in_name(vector: FloatArray) -> list[int]:
    """Where the largest parts stand, in the order of the terms."""
    sizes = np.abs(vector) / np.abs(vector).max()
    largest = np.argsort(-sizes, kind="stable")[: int((sizes >= _IN_NAME).sum())]
    return sorted(int(j) for j in largest)


def _name(terms: Sequence[str], vector: FloatArray) -> str:
    relative = vector / np.abs(vector).max()
    return sum_in_words([(float(f"{relative[j]:.2g}"), terms[j]) for j in _in_name(vector)])
