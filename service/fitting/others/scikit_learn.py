"""scikit-learn's `LinearRegression`, really run."""

from importlib.metadata import version
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.others.lengths import lengths
from service.fitting.others.printed import Printed, Spectrum
from service.fitting.others.question import Question

EPSILON = float(np.finfo(np.float64).eps)
#: Less of a column's length than this is no more than centring's rounding.
ROUNDING_SHARE = 1e-14


def program() -> str:
    """With its version."""
    return f"sklearn.linear_model.LinearRegression {version('scikit-learn')}"


def solve(question: Question) -> Printed:
    """LinearRegression(fit_intercept=..).fit(X, Y, sample_weight=..) with every other option at its default.

    It subtracts weighted means from features and targets, multiplies rows by sqrt(weight), and takes the solution of
    least norm of what is left (`scipy.linalg.lstsq`); the intercept follows from the means and is in no norm.

    Raises
    ------
    Exception
        Whatever scikit-learn raises: ValueError for data it refuses, ZeroDivisionError where all weights are 0,
        LinAlgError, ImportError.
    """
    # Imported no earlier than asked for: a second or so, and memory in every process that fits.
    from sklearn.linear_model import LinearRegression

    model = LinearRegression(fit_intercept=question.intercept)
    model.fit(question.x, question.y, sample_weight=question.weights)
    slopes = np.asarray(model.coef_, dtype=np.float64).T
    rank = int(model.rank_)
    if not question.intercept:
        return Printed(slopes, rank, rank, _spectrum(model, question), (), len(question.x))
    coefficients = np.vstack([np.asarray(model.intercept_, dtype=np.float64), slopes])
    return Printed(coefficients, rank, rank + 1, _spectrum(model, question), (), len(question.x))


def _spectrum(model: Any, question: Question) -> Spectrum:
    terms = question.terms[int(question.intercept) :]
    sizes, whole = lengths(_worked_on(question)), lengths(question.weighted_design[:, int(question.intercept) :])
    is_rounding = (sizes > 0.0) & (sizes < ROUNDING_SHARE * whole)
    return Spectrum(
        of="the centred columns" if question.intercept else "the design",
        singular_values=np.asarray(model.singular_, dtype=np.float64),
        kept=int(model.rank_),
        cutoff=_cutoff(model, question),
        terms=terms,
        sizes=sizes,
        rounding=tuple(term for term, is_so in zip(terms, is_rounding, strict=True) if is_so),
    )


def _cutoff(model: Any, question: Question) -> float:
    """The `cond` it hands to scipy.linalg.lstsq: `tol` from 1.9 on (1e-6), eps max(n, p) from 1.6 to 1.8."""
    major, minor = (int(part) for part in version("scikit-learn").split(".")[:2])
    if (major, minor) >= (1, 9):
        return float(model.tol)
    return EPSILON * float(max(question.x.shape))


def _worked_on(question: Question) -> FloatArray:
    """(n, p) the features less their means where there is an intercept, times sqrt(weight)."""
    x, weights = question.x, question.weights
    if question.intercept:
        x = x - np.average(x, axis=0, weights=weights)
    return x if weights is None else x * np.sqrt(weights)[:, None]
