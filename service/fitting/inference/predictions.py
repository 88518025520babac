"""What a fit and its reference say of new rows, how sure that is, and whether it is more than the data can tell."""

from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.errors import InvalidProblem
from service.fitting.inference import reasons
from service.fitting.inference.degrees import Degrees
from service.fitting.inference.distributions import t_quantile
from service.fitting.inference.sums import whitened_residuals
from service.fitting.inference.uncertainty import finite
from service.fitting.inference.whitening import Whitening
from service.fitting.reference.columns import DoubledColumns
from service.fitting.reference.design import Design
from service.fitting.reference.double_double import Pair
from service.fitting.reference.equilibration import column_exponents, scaled_by
from service.fitting.reference.kernels import PLAIN, Block, Kernels, zeros
from service.fitting.reference.least_squares import LeastSquares

#: A row lies in the row space where what sticks out is below this, relative to its terms.
_ESTIMABLE = 1e-8
#: Leverages that differ by less are the same.
_ROUNDING = 1e-9
#: Numbers above this, powers included, are summed apart from the others.
_HUGE = 1e100


@dataclass(frozen=True, eq=False)
class Band:
    """One guess for each new row and target, all (r, q).

    Attributes
    ----------
    ci_low, ci_high
        Confidence interval of the mean of all rows with these features.
    pi_low, pi_high
        Prediction interval of one such row, of weight 1.
    """

    estimate: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    pi_low: FloatArray
    pi_high: FloatArray


@dataclass(frozen=True, eq=False)
class Predictions:
    """New rows a (r, m), a' W for each target.

    Standard errors are classical, s sqrt(a' (A'SA)^-1 a), whatever those of the coefficients are: a prediction interval
    needs the one variance that they assume. Both bands are as wide, being about what the data say: the fit's stands
    around the fit's own estimate, and means what it says only as far as that has come to the reference.

    Attributes
    ----------
    fit, reference
        By the parameters of the fit itself, and by those of its reference.
    std_error
        (r, q) of the reference's estimate of the mean.
    df
        Degrees of freedom of the t distribution behind the intervals; 0 where there are none.
    leverage
        (r,) a' (A'SA)^-1 a; NaN where the row is not estimable, or the fit penalised.
    beyond_leverage
        (r,) whether that is more than of any row the fit has seen, each taken at weight 1: a combination of features
        far from theirs, be each of them in its range.
    outside
        (r, p) whether a feature lies outside the range of the rows the fit has seen, those of positive weight.
    estimable
        (r,) whether the data determine a' W: a lies in their row space.
    reasons
        (q,) why intervals are NaN; None where none is.
    """

    fit: Band
    reference: Band
    std_error: FloatArray
    df: int
    leverage: FloatArray
    beyond_leverage: BoolArray
    outside: BoolArray
    estimable: BoolArray
    reasons: tuple[str | None, ...]


# What leaves float64 is data here: it comes out as NaN, and a reason says so.
@np.errstate(all="ignore")
def predict(
    solution: LeastSquares,
    estimate: FloatArray,
    new: FloatArray,
    confidence_level: float,
    kernels: Kernels = PLAIN,
) -> Predictions:
    """For the reference `solution`, a fit's own parameters `estimate` (m, q), and new rows' features (r, p).

    `kernels` as for `infer`.

    Raises
    ------
    InvalidProblem
        No row, another number of features than the fit has, a number that is not finite, no confidence level.
    """
    _check(solution, new, confidence_level)
    degrees = Degrees.of(solution)
    estimable = _estimable(solution, new)
    leverage, beyond = _leverage(solution, new, estimable, kernels)
    df = degrees.residual if solution.design.penalties is None else 0
    deviations, quantile = _deviations(solution, df), t_quantile(df, confidence_level)
    std_error = np.sqrt(leverage)[:, None] * deviations
    reach = quantile * std_error, quantile * np.sqrt(1.0 + leverage)[:, None] * deviations
    fit, reference = (
        _band(_estimates(solution.design, of, new, kernels), *reach) for of in (estimate, solution.parameters)
    )
    return Predictions(
        fit=fit,
        reference=reference,
        std_error=finite(std_error),
        df=df,
        leverage=leverage,
        beyond_leverage=beyond,
        outside=_outside(solution.design, new),
        estimable=estimable,
        reasons=_reasons(solution, degrees, estimable, (fit, reference)),
    )


def _check(solution: LeastSquares, new: FloatArray, confidence_level: float) -> None:
    features = solution.design.features.shape[1]
    if new.ndim != 2 or not len(new):
        raise InvalidProblem(("rows",), "There is no row to predict.", f"rows of {features} numbers")
    if new.shape[1] != features:
        raise InvalidProblem(
            ("rows", 0),
            f"The rows have {new.shape[1]} numbers, and the fit has {features} features.",
            f"{features} numbers in each row",
        )
    if not np.isfinite(new).all():
        row = int(np.flatnonzero(~np.isfinite(new).all(axis=1))[0])
        raise InvalidProblem(("rows", row), "This row holds what is no finite number.", "finite numbers")
    if not 0.0 < confidence_level < 1.0:
        raise InvalidProblem(
            ("confidence_level",), f"{confidence_level:g} is no confidence level.", "a number above 0 and below 1"
        )


def _estimates(design: Design, parameters: FloatArray, new: FloatArray, kernels: Kernels) -> FloatArray:
    """(r, q) a' W in doubled precision: in float64 alone, high powers cancel until nothing is left."""
    # Columns are brought near 1 by their largest number: next to a huge row, the others would be as good as 0.
    huge = (np.abs(new) ** design.degree > _HUGE).any(axis=1)
    out = np.empty((len(new), parameters.shape[1]))
    for group in (huge, ~huge):
        if group.any():
            out[group] = _products(design, parameters, new[group], kernels)
    return out


def _products(design: Design, parameters: FloatArray, new: FloatArray, kernels: Kernels) -> FloatArray:
    columns = DoubledColumns.of(Design(new, design.intercept, design.degree), np.empty((len(new), 0)))
    # Doubled precision wants numbers near 1, which powers of two see to.
    scaled = scaled_by(parameters.T, columns.exponents).T
    exponents = column_exponents(scaled)
    weights = Pair.of(np.asfortranarray(scaled_by(scaled, -exponents)))
    out = zeros(len(new), parameters.shape[1])
    kernels.subtract_product(Block(columns.columns, columns.low, 0, len(new)), weights, out)
    return scaled_by(0.0 - out.rounded, exponents)


def _band(estimate: FloatArray, confidence: FloatArray, prediction: FloatArray) -> Band:
    return Band(
        finite(estimate),
        finite(estimate - confidence),
        finite(estimate + confidence),
        finite(estimate - prediction),
        finite(estimate + prediction),
    )


def _deviations(solution: LeastSquares, df: int) -> FloatArray:
    """(q,) the residual standard deviations; NaN where there are none."""
    residuals, exponents = whitened_residuals(solution)
    squares = np.square(residuals).sum(axis=0)
    return np.asarray(scaled_by(np.sqrt(squares / (df or np.nan)), exponents))


def _estimable(solution: LeastSquares, new: FloatArray) -> BoolArray:
    """(r,) whether no null vector sees the row."""
    if solution.is_full_rank:
        return np.ones(len(new), dtype=np.bool_)
    rows, null = Design(new, solution.design.intercept, solution.design.degree).plain(), solution.null_space
    return np.asarray((np.abs(rows @ null) <= _ESTIMABLE * (np.abs(rows) @ np.abs(null))).all(axis=1))


def _leverage(
    solution: LeastSquares, new: FloatArray, estimable: BoolArray, kernels: Kernels
) -> tuple[FloatArray, BoolArray]:
    """(r,) a' (A'SA)^-1 a, NaN where there is none, and whether it is beyond the data's own."""
    if solution.design.penalties is not None:
        return np.full(len(new), np.nan), np.zeros(len(new), dtype=np.bool_)
    whitening = Whitening.of(solution, kernels)
    rows = whitening.counted_rows
    own = whitening.row_leverage[rows]
    if solution.design.weights is not None:
        own = own / solution.design.weights[rows]
    leverage = np.where(estimable, whitening.leverage(whitening.images(new)), np.nan)
    return leverage, ~estimable | (leverage > (1.0 + _ROUNDING) * own.max())


def _outside(design: Design, new: FloatArray) -> BoolArray:
    """(r, p)"""
    seen = design.features
    if design.weights is not None and not design.weights.all():
        seen = seen[design.weights > 0.0]
    return np.asarray((new < seen.min(axis=0)) | (new > seen.max(axis=0)))


def _reasons(
    solution: LeastSquares, degrees: Degrees, estimable: BoolArray, bands: tuple[Band, Band]
) -> tuple[str | None, ...]:
    """One a target."""
    shared = []
    if solution.design.penalties is not None:
        shared.append(reasons.PENALISED)
    elif degrees.residual == 0:
        shared.append(reasons.saturated(degrees))
    has_intervals = not shared
    if not estimable.all():
        shared.append(reasons.not_estimable(np.flatnonzero(~estimable).tolist(), degrees))
    found = [(band.pi_low + band.pi_high)[estimable] if has_intervals else band.estimate for band in bands]
    return tuple(
        reasons.together([*shared, reasons.OUT_OF_RANGE] if np.isnan(column).any() else shared)
        for column in np.vstack(found).T
    )
