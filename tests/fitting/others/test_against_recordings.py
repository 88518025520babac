"""R's lm and statsmodels' OLS are emulated: held to what the programs themselves answered, recorded with versions.

Two backward stable solutions of one problem differ by about eps K (|w| + (|y| + K |r|) / sigma_1), K the condition
number of what is solved (Golub and Van Loan, 4th ed., section 5.3.7). Householder QR does not feel the columns' sizes,
so R is judged with columns of length 1; singular values do.
"""

from typing import Any

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.others import r_lm, statsmodels_ols
from service.fitting.others.dqrdc2 import factor
from service.fitting.others.question import Question
from tests.fitting.others.recorded import RECORDED, coefficients_of, equilibrated, question_of

EPSILON = float(np.finfo(np.float64).eps)
#: For the constants that the bound leaves out, sqrt(n m) among them.
SLACK = 32.0


def _assert_as_near_as_rounding(a: FloatArray, y: FloatArray, ours: FloatArray, theirs: FloatArray, kept: int) -> None:
    """All coefficients (k, q) of min |A w - y|, in which `kept` singular values count."""
    s = np.linalg.svd(a, compute_uv=False)
    if kept == 0:
        np.testing.assert_array_equal(ours, theirs)
        return
    condition = float(s[0] / s[kept - 1])
    residual = np.linalg.norm(y - a @ theirs)
    size = np.linalg.norm(theirs) + (np.linalg.norm(y) + condition * residual) / s[0]
    assert np.linalg.norm(ours - theirs) <= SLACK * EPSILON * condition * size


@pytest.mark.parametrize("name", RECORDED)
def test_r(name: str) -> None:
    question, recorded = question_of(RECORDED[name]["input"]), RECORDED[name]["r"]
    printed = r_lm.solve(question)
    theirs = coefficients_of(recorded)
    missing = np.isnan(theirs)
    assert printed.rank == recorded["rank"]
    np.testing.assert_array_equal(np.isnan(printed.coefficients), missing)
    assert [o.term for o in printed.omissions] == [
        term for term, row in zip(question.terms, missing, strict=True) if row.any()
    ]
    within = ~missing.any(axis=1)
    columns, lengths = equilibrated(question.weighted_design[:, within])
    ours, theirs = printed.coefficients[within] * lengths[:, None], theirs[within] * lengths[:, None]
    _assert_as_near_as_rounding(columns, question.weighted_targets, ours, theirs, int(within.sum()))


@pytest.mark.parametrize("name", [name for name in RECORDED if RECORDED[name]["r"]["pivot"] is not None])
def test_r_moves_the_same_columns(name: str) -> None:
    question = question_of(RECORDED[name]["input"])
    used = np.ones(len(question.y), dtype=np.bool_) if question.weights is None else question.weights > 0.0
    factors = factor(question.weighted_design[used], question.weighted_targets[used], r_lm.TOLERANCE)
    assert (factors.columns + 1).tolist() == RECORDED[name]["r"]["pivot"]


@pytest.mark.parametrize("name", RECORDED)
def test_statsmodels(name: str) -> None:
    question, recorded = question_of(RECORDED[name]["input"]), RECORDED[name]["statsmodels"]
    printed = statsmodels_ols.solve(question)
    assert printed.rank == recorded["rank"]
    assert printed.spectrum is not None
    theirs = np.array(recorded["singular_values"])
    np.testing.assert_allclose(printed.spectrum.singular_values, theirs, rtol=0, atol=8.0 * EPSILON * theirs[0])
    a, y, scale = _in_range(question)
    _assert_as_near_as_rounding(a, y, printed.coefficients * scale, coefficients_of(recorded) * scale, printed.counted)


def _in_range(question: Question) -> tuple[FloatArray, FloatArray, float]:
    """The weighted problem with the largest entry of the design 1, and what coefficients are multiplied by for it."""
    scale = float(np.abs(question.weighted_design).max()) or 1.0
    return question.weighted_design / scale, question.weighted_targets, scale


def _well_conditioned(recorded: dict[str, Any]) -> bool:
    s = np.linalg.svd(question_of(recorded["input"]).weighted_design, compute_uv=False)
    return bool(s[-1] > 0.05 * s[0])


@pytest.mark.parametrize("name", [name for name in RECORDED if _well_conditioned(RECORDED[name])])
def test_well_conditioned_ones_agree_to_14_digits(name: str) -> None:
    question = question_of(RECORDED[name]["input"])
    for program, solve in (("r", r_lm.solve), ("statsmodels", statsmodels_ols.solve)):
        theirs = coefficients_of(RECORDED[name][program])
        np.testing.assert_allclose(
            solve(question).coefficients, theirs, rtol=1e-14, atol=1e-14 * np.nanmax(abs(theirs))
        )
