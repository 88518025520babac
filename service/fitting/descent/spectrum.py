"""The eigenvalues and eigenvectors of a loss's Hessian in descent's units, and their names in the user's columns.

With H = (2/d) R'R plain descent by all rows shrinks the gap along each eigenvector by a factor of its own, and along
one with a small eigenvalue hardly at all; where the loss is flat, no descent moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.reference.null_space import sum_in_words

#: Singular vectors cost O(m^3): for so many parameters a sixth of a second, where all else is quick.
MOST_PARAMETERS = 500
#: Terms with a smaller part in a direction are left out of its name.
_IN_NAME = 1e-2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """k orthonormal directions, the largest eigenvalue first.

    They are all that the loss is not flat along; and of those that it is flat along, which are no directions of their
    own, the few that hold all of the gap at the start.

    Attributes
    ----------
    is_whole
        False where no directions were looked for: beyond `MOST_PARAMETERS`, and where numbers have left float64.
    vectors
        (m, k), the first part of each one that its name has being positive.
    eigenvalues
        (k,) of H: a gap g along a direction adds eigenvalue g^2 / 2 to the loss in descent's units. 0 where it is flat.
    """

    terms: tuple[str, ...]
    vectors: FloatArray
    eigenvalues: FloatArray
    is_whole: bool = True

    # What leaves float64 is data here: it comes out as inf or NaN.
    @classmethod
    @np.errstate(all="ignore")
    def of(cls, terms: Sequence[str], triangle: FloatArray, divisor: float, before: FloatArray) -> "Spectrum":
        """Of the loss |R (W - W*)|^2 / d + const.

        Parameters
        ----------
        triangle
            (j, m) R.
        divisor
            d, what the sum of squares is divided by.
        before
            (m, q) the gap W - W* at the start.
        """
        if len(terms) > MOST_PARAMETERS or not (np.isfinite(triangle).all() and np.isfinite(before).all()):
            return cls(tuple(terms), np.empty((len(terms), 0)), np.empty(0), is_whole=False)
        vectors, singular = _directions(triangle, before)
        # Times the singular values one after the other: their squares may leave float64 where the eigenvalues do not.
        return cls(tuple(terms), _turned(vectors), 2.0 / divisor * singular * singular)

    @property
    def is_flat(self) -> BoolArray:
        """(k,) whether the loss is flat along a direction."""
        flat: BoolArray = self.eigenvalues == 0.0
        return flat

    @cached_property
    def names(self) -> tuple[str, ...]:
        """In words, the largest part being 1: "x1 - x2"."""
        return tuple(_name(self.terms, vector) for vector in self.vectors.T)

    def gaps(self, away: FloatArray) -> FloatArray:
        """(k, q) the parts along each direction of W - W* (m, q)."""
        gaps: FloatArray = self.vectors.T @ away
        return gaps

    def named_terms(self, place: int) -> tuple[str, ...]:
        """The terms that a direction's name has, the largest part first."""
        vector = self.vectors[:, place]
        return tuple(self.terms[j] for j in sorted(_in_name(vector), key=lambda j: -abs(vector[j])))


def _directions(triangle: FloatArray, before: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Orthonormal columns (m, k) and the singular values of R that belong to them (k,), 0 where it is flat."""
    m = triangle.shape[1]
    rounding = m * np.finfo(np.float64).eps
    _, singular, rows = np.linalg.svd(triangle, full_matrices=True)
    singular = np.append(singular, np.zeros(m - len(singular)))
    flat = singular <= rounding * singular.max(initial=0.0)
    steep, level = rows[~flat].T, rows[flat].T
    held, sizes, _ = np.linalg.svd(level.T @ before, full_matrices=False)
    held = held[:, sizes > rounding * np.abs(before).max(initial=0.0)]
    vectors = np.hstack([steep, level @ held])
    return vectors, np.append(singular[~flat], np.zeros(held.shape[1]))


def _turned(vectors: FloatArray) -> FloatArray:
    """Directions with the first of the parts that their names have positive."""
    signs = [np.sign(vector[_in_name(vector)[0]]) for vector in vectors.T]
    turned: FloatArray = vectors * np.array(signs)
    return turned


def _in_name(vector: FloatArray) -> list[int]:
    """Where the largest parts stand, in the order of the terms."""
    sizes = np.abs(vector) / np.abs(vector).max()
    largest = np.argsort(-sizes, kind="stable")[: int((sizes >= _IN_NAME).sum())]
    return sorted(int(j) for j in largest)


def _name(terms: Sequence[str], vector: FloatArray) -> str:
    relative = vector / np.abs(vector).max()
    return sum_in_words([(float(f"{relative[j]:.2g}"), terms[j]) for j in _in_name(vector)])
