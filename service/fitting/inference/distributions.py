"""Tail probabilities and quantiles of Student's t and of F, to full relative precision however small they are.

From `scipy.special` alone: `scipy.stats` would cost the process that serves HTTP 46 MB. NaN gives NaN.
"""

import numpy as np
from scipy.special import beta, betainc, betaincc, stdtr, stdtrit

from service.fitting.arrays import FloatArray

#: Beyond this, t^2 leaves float64, and the first term of the tail's series is the whole of it.
_FAR = 1e100


@np.errstate(all="ignore")
def two_sided_p(t: FloatArray, df: int) -> FloatArray:
    """P(|T| > |t|), elementwise, for T with `df` >= 1 degrees of freedom.

    For large |t| by I_x(a, 1/2) = x^a / (a B(a, 1/2)) (1 + O(x)), x = df / (df + t^2), a = df / 2.
    """
    size = np.abs(t)
    p = np.asarray(2.0 * stdtr(df, -size))
    far = size > _FAR
    if far.any():
        half = 0.5 * df
        p = np.where(far, (np.sqrt(df) / size) ** df / (half * beta(half, 0.5)), p)
    return p


def t_quantile(df: int, confidence_level: float) -> float:
    """The t with P(|T| <= t) = confidence_level, for T with `df` >= 1 degrees of freedom."""
    # By the lower tail: the upper one is not a number that float64 tells from 1.
    return -float(stdtrit(df, 0.5 * (1.0 - confidence_level)))


@np.errstate(all="ignore")
def f_upper_tail(f: FloatArray, df_model: int, df_residual: int) -> FloatArray:
    """P(F > f), elementwise, for f >= 0 and F with `df_model` and `df_residual` >= 1 degrees of freedom.

    With r = f df_model / df_residual this is I_{1 / (1 + r)}(df_residual / 2, df_model / 2), taken by its complement
    where r is small. `scipy.special.fdtrc` keeps 10 digits of it.
    """
    a, b = 0.5 * df_model, 0.5 * df_residual
    ratio = np.asarray(f * (a / b))
    p = np.asarray(betainc(b, a, 1.0 / (1.0 + ratio)))
    small = ratio < 1.0
    if small.any():
        p = np.where(small, betaincc(a, b, ratio / (1.0 + ratio)), p)
    return p
