"""What the data leave undetermined: the null space of a design, the solution of least norm, and both in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from scipy.linalg import solve_triangular

from service.fitting.arrays import BoolArray, FloatArray, IntArray
from service.fitting.reference.double_double import Pair
from service.fitting.reference.equilibration import scaled_by
from service.fitting.reference.kernels import PLAIN, Block
from service.fitting.solution import NullDirection

#: Of a vector whose largest entry is 1, entries below this are rounding.
NEGLIGIBLE = 1e-9
#: A combination of columns that vanishes to this, relative to its terms, vanishes exactly as far as doubled precision
#: can tell: it is a property of the data, and no accident of rounding.
EXACTLY = 1e-25
MOST_NULL_DIRECTIONS = 20
#: Coefficients are written as fractions up to this denominator where they are such.
LARGEST_DENOMINATOR = 12
_MOST_REDUCED = 400
_LARGEST_SHIFT = 900.0
MOST_TERMS_IN_WORDS = 6


@dataclass(frozen=True, eq=False)
class Undetermined:
    """The null space of B (n, m).

    Attributes
    ----------
    basis
        (m, d), B basis = 0, with -1 for one dependent column in each; pairs.
    identified
        (m,) whether no null vector has a part in the parameter.
    exact
        Whether B basis vanishes in doubled precision too.
    """

    basis: Pair
    identified: BoolArray
    exact: bool


def undetermined(pivots: IntArray, rank: int, combinations: Pair, remainder: FloatArray) -> Undetermined:
    """The null space, from the dependent columns' combinations (rank, d) of the independent ones.

    `pivots` (m,) has the `rank` independent columns first; `remainder` (n, d) is what the combinations leave.
    """
    d = len(pivots) - rank
    basis = Pair(*(np.zeros((len(pivots), d), order="F") for _ in range(2)))
    for half, part in zip(basis, combinations, strict=True):
        half[pivots[:rank]] = part
    basis.high[pivots[rank:], np.arange(d)] = -1.0
    largest = np.abs(basis.high).max(axis=0, initial=1.0)
    identified = (np.abs(basis.high) <= NEGLIGIBLE * largest).all(axis=1)
    exact = bool((np.abs(remainder).max(axis=0, initial=0.0) <= EXACTLY * largest).all())
    return Undetermined(basis, identified, exact)


def least_norm(
    parameters: Pair, error: FloatArray, null: Undetermined, exponents: FloatArray
) -> tuple[Pair, FloatArray]:
    """The solution of least Euclidean norm in the user's units, from any solution (m, q), and its error bound.

    v - N z with z = argmin |D (v - N z)|, D = diag(2^-exponents): once in float64, then again with the residual in
    doubled precision. Where the null space is an accident of rounding, the bound is infinite.
    """
    relative = exponents.min() - exponents
    basis, space = _of_moderate_size(null.basis, relative)
    orthogonal, triangle = np.linalg.qr(space)
    block = Block(*basis, 0, len(exponents))
    moved = np.zeros_like(error)
    for _ in range(3):
        step = _solve(triangle, orthogonal.T @ scaled_by(parameters.high.T, relative).T)
        before = parameters
        parameters = Pair(*(half.copy(order="F") for half in parameters))
        PLAIN.subtract_product(block, Pair.of(step), parameters)
        moved = np.abs(parameters.high - before.high)
    if not null.exact:
        return parameters, np.full_like(error, np.inf)
    spread = np.sqrt(np.square(scaled_by(error.T, relative).T).sum(axis=0))
    bound = moved + scaled_by(np.broadcast_to(spread[:, None], (len(spread), len(exponents))), -relative).T
    bound = np.where(null.identified[:, None], error, bound)
    # An exact 0 that the projection leaves as a rounding of 0.
    dust = np.abs(parameters.high) <= 1e-28 * np.abs(parameters.high).max(axis=0, initial=0.0)
    return Pair(*(np.where(dust, 0.0, half) for half in parameters)), np.where(dust, 0.0, bound)


def _of_moderate_size(basis: Pair, relative: FloatArray) -> tuple[Pair, FloatArray]:
    """The basis (m, d), and D times it, every vector of which is near 1 as far as float64 reaches."""
    mantissa, exponent = np.frexp(basis.high)
    sizes = np.where(mantissa == 0.0, -np.inf, exponent + relative[:, None])
    shift = np.clip(sizes.max(axis=0), -_LARGEST_SHIFT, 0.0)
    moved = Pair(*(np.asfortranarray(scaled_by(half, -shift)) for half in basis))
    return moved, np.ldexp(mantissa, np.where(mantissa == 0.0, 0.0, sizes - shift).astype(np.int64))


def _solve(triangle: FloatArray, right: FloatArray) -> FloatArray:
    """triangle^-1 right, or what comes nearest; 0 where that leaves float64."""
    if (np.abs(triangle.diagonal()) > 0.0).all():
        solved = np.asarray(solve_triangular(triangle, right, check_finite=False))
    else:
        solved = np.asarray(np.linalg.lstsq(triangle, right, rcond=None)[0])
    return np.asfortranarray(np.where(np.isfinite(solved), solved, 0.0))


def null_directions(
    basis: FloatArray, exponents: FloatArray, terms: Sequence[str], intercept: bool
) -> tuple[NullDirection, ...]:
    """The null space in words, each direction saying one column by columns before it.

    Parameters
    ----------
    basis
        (m, d) of the equilibrated design.
    exponents
        (m,) the user's column j is 2^exponents_j times the equilibrated one.
    """
    if not 0 < basis.shape[1] <= _MOST_REDUCED:
        return ()
    rows, leaders = _reduced(basis.T.copy())
    order = np.argsort(leaders)[:MOST_NULL_DIRECTIONS]
    return tuple(_direction(rows[i], int(leaders[i]), exponents, terms, intercept) for i in order)


def _reduced(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """Rows (d, m) reduced so that each has a leading column of its own, as late as can be; leaders are -1."""
    leaders = np.full(len(rows), -1)
    for column in range(rows.shape[1] - 1, -1, -1):
        size = np.where(leaders < 0, np.abs(rows[:, column]), 0.0)
        chosen = int(np.argmax(size))
        if size[chosen] <= NEGLIGIBLE * np.abs(rows[chosen]).max():
            continue
        leaders[chosen] = column
        rows[chosen] /= -rows[chosen, column]
        others = np.arange(len(rows)) != chosen
        rows[others] += np.outer(rows[others, column], rows[chosen])
        rows[others, column] = 0.0
        if (leaders >= 0).all():
            break
    return rows, leaders


def _direction(
    row: FloatArray, leader: int, exponents: FloatArray, terms: Sequence[str], intercept: bool
) -> NullDirection:
    taking_part = [j for j in np.flatnonzero(np.abs(row) > NEGLIGIBLE * np.abs(row).max()) if j != leader]
    values = {int(j): _clean(float(np.ldexp(row[j], int(exponents[leader] - exponents[j])))) for j in taking_part}
    values, whole = _in_integers(values)
    named = [*values, leader]
    return NullDirection(
        name=_in_words(values, whole, leader, terms, intercept),
        terms=tuple(terms[j] for j in named),
        coefficients=(*values.values(), -float(whole)),
    )


def _clean(value: float) -> float:
    """The fraction with a small denominator that `value` is but for rounding, or `value`."""
    if not 1e-6 < abs(value) < 1e9:
        return value
    near = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    return float(near) if abs(float(near) - value) <= NEGLIGIBLE * abs(value) else value


def _in_integers(values: dict[int, float]) -> tuple[dict[int, float], int]:
    """The combination times the smallest number that makes all of it integers, and that number; 1 where none does."""
    fractions = [Fraction(value).limit_denominator(LARGEST_DENOMINATOR) for value in values.values()]
    if any(float(near) != value for near, value in zip(fractions, values.values(), strict=True)):
        return values, 1
    whole = lcm(*(near.denominator for near in fractions)) if fractions else 1
    if whole > LARGEST_DENOMINATOR:
        return values, 1
    return {j: float(near * whole) for j, near in zip(values, fractions, strict=True)}, whole


def _in_words(values: dict[int, float], whole: int, leader: int, terms: Sequence[str], intercept: bool) -> str:
    name = terms[leader]
    if not values:
        return f"{name} is 0 on every row"
    if intercept and set(values) == {0}:
        return f"{name} is constant ({values[0] / whole:.6g})"
    # The intercept's column is all ones: in a sentence about columns it is a number, and stands last if it can.
    ordered = sorted(values, key=lambda j: intercept and j == 0)
    if intercept and ordered[-1] == 0 and values[ordered[0]] < 0.0 < values[0]:
        ordered = [0, *ordered[:-1]]
    text = sum_in_words([(values[j], None if intercept and j == 0 else terms[j]) for j in ordered])
    return f"{'' if whole == 1 else f'{whole} '}{name} = {text}"


def sum_in_words(parts: Sequence[tuple[float, str | None]]) -> str:
    """``2 x1 - x2``: numbers times names, a number alone where there is no name; the first few of many."""
    shown = parts[:MOST_TERMS_IN_WORDS]
    text = "".join(_term(value, name) for value, name in shown)
    text = text.removeprefix(" + ").replace(" - ", "-", 1) if text.startswith(" - ") else text.removeprefix(" + ")
    return text + (f" + .. ({len(parts)} terms)" if len(parts) > len(shown) else "")


def _term(value: float, name: str | None) -> str:
    sign, size = (" - " if value < 0 else " + "), abs(value)
    if name is None:
        return f"{sign}{size:.6g}"
    return f"{sign}{name}" if size == 1.0 else f"{sign}{size:.6g} {name}"
