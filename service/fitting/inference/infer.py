"""One verb: what the data say about a reference, beside its parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.inference import reasons
from service.fitting.inference.collinearity import collinearity
from service.fitting.inference.degrees import Degrees
from service.fitting.inference.distributions import t_quantile, two_sided_p
from service.fitting.inference.options import Inference
from service.fitting.inference.sandwich import clustered, heteroscedastic
from service.fitting.inference.summary import summarise
from service.fitting.inference.sums import CountedRows, Sums
from service.fitting.inference.tables import Collinearity, CovarianceMatrix, InferenceReport, Spread, TargetSummary
from service.fitting.inference.uncertainty import Uncertainty, classical
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import LeastSquares


@dataclass(frozen=True)
class Inferred:
    """Everything that `infer` finds.

    Attributes
    ----------
    spreads
        One a coefficient: all of the first target, all of the second, ..
    summary
        One a target.
    covariance, collinearity
        None unless asked for. A penalised fit has a covariance of NaN, and no collinearity: its design's is that of the
        least-squares fit.
    """

    spreads: tuple[Spread, ...]
    summary: tuple[TargetSummary, ...]
    report: InferenceReport
    covariance: tuple[CovarianceMatrix, ...] | None
    collinearity: Collinearity | None


# What leaves float64 is data here: it comes out as NaN, and a reason says so.
@np.errstate(all="ignore")
def infer(
    solution: LeastSquares,
    y: FloatArray,
    options: Inference,
    terms: Sequence[str],
    targets: Sequence[str],
    intercept: bool,
    groups: FloatArray | None,
    penalised: bool,
    kernels: Kernels = PLAIN,
) -> Inferred:
    """Standard errors, tests, intervals and summaries of a solution for the targets Y (n, q).

    Classical standard errors do not look at the design again; the others go over its rows block by block.

    Parameters
    ----------
    terms, targets
        Names of the rows (m,) and columns (q,) of the parameters.
    intercept
        Whether the first term is the intercept.
    groups
        (n,) which cluster each row belongs to; needed for ``clustered``, ignored otherwise.
    penalised
        Whether a penalty is in the solution: then there is only what says how well it fits.
    kernels
        What doubled precision is carried by, where the condition of the design asks for it.
    """
    degrees = Degrees.of(solution)
    rows = CountedRows.of(solution, y)
    sums = rows.sums(intercept)
    found = _uncertainty(solution, sums, degrees, options, groups, penalised, kernels)
    exact = [of.residual == 0.0 for of in sums]
    found = found.without_spread(exact) if any(exact) else found
    spreads, out_of_range = _spreads(solution, found, sums, options.confidence_level)
    return Inferred(
        spreads=spreads,
        summary=summarise(targets, sums, degrees, rows.log_weights, penalised, out_of_range),
        report=InferenceReport(options.standard_errors, options.confidence_level, found.df, found.reason),
        covariance=_covariance(found, terms, targets),
        collinearity=collinearity(solution, terms, kernels) if options.collinearity and not penalised else None,
    )


def _uncertainty(
    solution: LeastSquares,
    sums: Sequence[Sums],
    degrees: Degrees,
    options: Inference,
    groups: FloatArray | None,
    penalised: bool,
    kernels: Kernels,
) -> Uncertainty:
    wanted = options.covariance
    if penalised or degrees.residual == 0:
        reason = reasons.PENALISED if penalised else reasons.saturated(degrees)
        return Uncertainty.none(degrees.parameters, len(sums), wanted, reason)
    match options.standard_errors:
        case "classical":
            deviations = np.array([of.root(of.residual / degrees.residual) for of in sums])
            return classical(solution, deviations, degrees.residual, wanted, kernels)
        case "clustered":
            assert groups is not None
            return clustered(solution, groups, wanted, kernels)
        case kind:
            return heteroscedastic(solution, kind, wanted, kernels)


def _spreads(
    solution: LeastSquares, found: Uncertainty, sums: Sequence[Sums], confidence_level: float
) -> tuple[tuple[Spread, ...], list[bool]]:
    """One a coefficient, target by target, and for each target whether some leave float64."""
    estimates, errors = solution.parameters, found.std_errors
    lost = _lost(errors, sums)
    if any_lost := bool(lost.any()):
        errors = np.where(lost, np.nan, errors)
    t = estimates / errors
    p = two_sided_p(t, found.df)
    reach = t_quantile(found.df, confidence_level) * errors
    table = np.array((errors, t, p, estimates - reach, estimates + reach))
    table[np.isinf(table)] = np.nan
    columns = table.transpose(0, 2, 1).reshape(5, -1).tolist()
    return tuple(map(Spread, *columns)), [any_lost and bool(of.any()) for of in lost.T]


def _lost(errors: FloatArray, sums: Sequence[Sums]) -> BoolArray:
    """(m, q) standard errors that are 0 or infinite for no other reason than float64's range."""
    lost = np.isinf(errors)
    if not errors.all():
        lost |= (errors == 0.0) & np.array([of.residual > 0.0 for of in sums])
    return lost


def _covariance(
    found: Uncertainty, terms: Sequence[str], targets: Sequence[str]
) -> tuple[CovarianceMatrix, ...] | None:
    if found.matrices is None:
        return None
    return tuple(
        CovarianceMatrix(target, tuple(terms), tuple(map(tuple, matrix.tolist())))
        for target, matrix in zip(targets, found.matrices, strict=True)
    )
