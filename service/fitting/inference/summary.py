"""One target's fit as a whole: R squared, F, the likelihood, and why some of them do not exist."""

import math
from collections.abc import Sequence

import numpy as np

from service.fitting.inference import reasons
from service.fitting.inference.degrees import Degrees
from service.fitting.inference.distributions import f_upper_tail
from service.fitting.inference.sums import Sums
from service.fitting.inference.tables import TargetSummary

_NONE = math.nan
_LOG_4 = math.log(4.0)


def summarise(
    targets: Sequence[str],
    sums: Sequence[Sums],
    degrees: Degrees,
    log_weights: float,
    penalised: bool,
    out_of_range: Sequence[bool],
) -> tuple[TargetSummary, ...]:
    """One a target; `out_of_range` (q,) says whose standard errors leave float64."""
    f = [_f(of, degrees) if _has_f(degrees, penalised) else _NONE for of in sums]
    f_p = f_upper_tail(np.array(f), degrees.model, degrees.residual).tolist() if _has_f(degrees, penalised) else f
    return tuple(
        _summary(*row, degrees, log_weights, penalised) for row in zip(targets, sums, f, f_p, out_of_range, strict=True)
    )


def _summary(
    target: str,
    sums: Sums,
    f: float,
    f_p: float,
    out_of_range: bool,
    degrees: Degrees,
    log_weights: float,
    penalised: bool,
) -> TargetSummary:
    has_variance = not penalised and degrees.residual > 0
    residual_sd = sums.root(sums.residual / degrees.residual) if has_variance else _NONE
    log_likelihood = _log_likelihood(sums, degrees, log_weights)
    deviance = _NONE if penalised else -2.0 * log_likelihood
    out_of_range = out_of_range or _left_range(residual_sd, sums.residual)
    return TargetSummary(
        target=target,
        r_squared=_r_squared(sums, degrees, penalised),
        adjusted_r_squared=_adjusted(sums, degrees) if has_variance else _NONE,
        residual_sd=_NONE if _left_range(residual_sd, sums.residual) else residual_sd,
        f=f if math.isfinite(f) else _NONE,
        f_p=f_p,
        log_likelihood=log_likelihood,
        aic=deviance + 2.0 * degrees.rank,
        bic=deviance + math.log(degrees.observations) * degrees.rank,
        observations=degrees.observations,
        df_model=degrees.model,
        df_residual=degrees.residual,
        reason=reasons.together(_reasons(sums, degrees, penalised, out_of_range)),
    )


def _has_f(degrees: Degrees, penalised: bool) -> bool:
    return degrees.model > 0 and degrees.residual > 0 and not penalised


def _f(sums: Sums, degrees: Degrees) -> float:
    """Infinite for a perfect fit."""
    if sums.total == 0.0:
        return _NONE
    if sums.is_exact:
        return math.inf
    return (sums.explained / degrees.model) / (sums.residual / degrees.residual)


def _r_squared(sums: Sums, degrees: Degrees, penalised: bool) -> float:
    if sums.total == 0.0:
        return _NONE
    if degrees.model <= 0:
        return 0.0
    # The smaller part is the one that is known to full relative precision; a penalised fit does not part so.
    if penalised or sums.residual < sums.explained:
        return 1.0 - sums.residual / sums.total
    return sums.explained / sums.total


def _adjusted(sums: Sums, degrees: Degrees) -> float:
    if sums.total == 0.0:
        return _NONE
    return 1.0 - (sums.residual / degrees.residual) / (sums.total / degrees.about_mean)


def _log_likelihood(sums: Sums, degrees: Degrees, log_weights: float) -> float:
    """Of a normal distribution, at its most likely variance RSS / n, with + 1/2 sum log s_i."""
    if degrees.residual <= 0 or sums.is_exact:
        return _NONE
    n = degrees.observations
    log_variance = math.log(sums.residual / n) + sums.exponent * _LOG_4
    return 0.5 * (log_weights - n * (math.log(2.0 * math.pi) + log_variance + 1.0))


def _left_range(root: float, square: float) -> bool:
    return math.isinf(root) or (root == 0.0 and square > 0.0)


def _reasons(sums: Sums, degrees: Degrees, penalised: bool, out_of_range: bool) -> list[str]:
    found = []
    if penalised:
        found.append(reasons.PENALISED)
    elif degrees.residual <= 0:
        found.append(reasons.saturated(degrees))
    elif degrees.model <= 0:
        found.append(reasons.NO_TERMS if degrees.intercept else reasons.NO_RANK)
    if sums.total == 0.0:
        found.append(reasons.CONSTANT if degrees.intercept else reasons.ZERO)
    if degrees.residual > 0 and sums.is_exact:
        found.append(reasons.EXACT if sums.residual == 0.0 else reasons.ROUNDING)
    if out_of_range:
        found.append(reasons.OUT_OF_RANGE)
    return found
