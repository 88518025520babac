"""Beside R 4.2 (lm, sandwich) and statsmodels 0.15: `tests/fitting/data/recording` says how they were asked."""

from typing import Any

import numpy as np
import pytest

from service.fitting.inference.infer import infer
from service.fitting.inference.options import Inference, StandardErrors
from tests.fitting.inference.recorded import CASES, TOLERANCE, WITHOUT_EMPTY_ROWS, Case, column

CLASSICAL = Inference(covariance=True)
HETEROSCEDASTIC: tuple[StandardErrors, ...] = ("hc0", "hc1", "hc2", "hc3")


def _answers(program: str, names: list[str]) -> list[Any]:
    return [
        pytest.param(name, k, answer, id=f"{name}-{answer['target']}")
        for name in names
        for k, answer in enumerate(CASES[name][program])
    ]


R = _answers("r", list(CASES))
STATSMODELS = _answers("statsmodels", WITHOUT_EMPTY_ROWS)


@pytest.mark.parametrize(("name", "k", "recorded"), R + STATSMODELS)
def test_coefficients_are_as_uncertain(name: str, k: int, recorded: dict[str, Any]) -> None:
    case = Case.of(name)
    inferred = case.infer(CLASSICAL)
    m, tolerance = len(case.terms), TOLERANCE[name]
    for field, key in (("std_error", "std_errors"), ("t", "t_values"), ("p", "p_values")):
        np.testing.assert_allclose(column(inferred, field, k, m), recorded[key], rtol=10 * tolerance, err_msg=field)
    interval = np.array(recorded["confidence_95"])
    scale = np.abs(interval).max(axis=1)
    assert (np.abs(column(inferred, "ci_low", k, m) - interval[:, 0]) <= tolerance * scale).all()
    assert (np.abs(column(inferred, "ci_high", k, m) - interval[:, 1]) <= tolerance * scale).all()
    assert inferred.covariance is not None
    np.testing.assert_allclose(inferred.covariance[k].matrix, recorded["vcov"], rtol=10 * tolerance)
    assert inferred.covariance[k].terms == case.terms
    assert inferred.report.reason is None
    assert inferred.report.df == recorded["df_residual"]


@pytest.mark.parametrize(("name", "k", "recorded"), R + STATSMODELS)
def test_summaries_are_the_same(name: str, k: int, recorded: dict[str, Any]) -> None:
    summary = Case.of(name).infer(CLASSICAL).summary[k]
    # R counts the variance among the parameters.
    extra = recorded["log_likelihood_df"] - recorded["rank"] if "log_likelihood_df" in recorded else 0
    expected = {
        "r_squared": recorded["r_squared"],
        "adjusted_r_squared": recorded["adj_r_squared"],
        "residual_sd": recorded["residual_sd"],
        "f": recorded["f_value"],
        "f_p": recorded["f_p_value"],
        "log_likelihood": recorded["log_likelihood"],
        "aic": recorded["aic"] - 2.0 * extra,
        "bic": recorded["bic"] - np.log(recorded["nobs"]) * extra,
        "observations": recorded["nobs"],
        "df_residual": recorded["df_residual"],
    }
    for field, value in expected.items():
        # The intercept of weighted_no_intercept and the like would be 0 without the weights' logarithms.
        assert getattr(summary, field) == pytest.approx(value, rel=1e-10, abs=0.0), field
    assert summary.df_model == recorded["rank"] - int(CASES[name]["input"]["intercept"])
    assert summary.target == recorded["target"]
    assert summary.reason is None


@pytest.mark.parametrize("kind", HETEROSCEDASTIC)
@pytest.mark.parametrize(
    ("name", "k", "recorded"),
    [param for param in R if "sandwich_hc" in param.values[2]] + STATSMODELS,
)
def test_heteroscedastic_covariances(name: str, k: int, recorded: dict[str, Any], kind: StandardErrors) -> None:
    key = "sandwich_hc" if "sandwich_hc" in recorded else "hc"
    inferred = Case.of(name).infer(Inference(kind, covariance=True))
    assert inferred.covariance is not None
    matrix = np.array(recorded[key][kind.upper()])
    scale = np.sqrt(np.outer(matrix.diagonal(), matrix.diagonal()))
    assert (np.abs(inferred.covariance[k].matrix - matrix) <= 10 * TOLERANCE[name] * scale).all()
    errors = column(inferred, "std_error", k, len(matrix))
    np.testing.assert_allclose(errors, np.sqrt(matrix.diagonal()), rtol=10 * TOLERANCE[name])


@pytest.mark.parametrize("kind", ["hc1", "hc3"])
@pytest.mark.parametrize(("name", "k", "recorded"), STATSMODELS)
def test_heteroscedastic_tests_are_by_t(name: str, k: int, recorded: dict[str, Any], kind: StandardErrors) -> None:
    tests = recorded["hc_tests"][kind.upper()]
    inferred = Case.of(name).infer(Inference(kind))
    p = column(inferred, "p", k, len(tests["p_values"]))
    np.testing.assert_allclose(p, tests["p_values"], rtol=100 * TOLERANCE[name])
    np.testing.assert_allclose(
        [[spread.ci_low, spread.ci_high] for spread in inferred.spreads[k * len(p) : (k + 1) * len(p)]],
        tests["confidence_95"],
        rtol=100 * TOLERANCE[name],
    )
    assert inferred.report.standard_errors == kind


def test_clustered_covariance() -> None:
    case = Case.of("clustered")
    inferred = case.infer(Inference("clustered", "group", covariance=True))
    assert inferred.covariance is not None
    [ours] = inferred.covariance
    [r], [statsmodels] = CASES["clustered"]["r"], CASES["clustered"]["statsmodels"]
    np.testing.assert_allclose(ours.matrix, statsmodels["cluster"], rtol=1e-11)
    np.testing.assert_allclose(ours.matrix, r["sandwich_cl_hc1"], rtol=1e-11)
    tests = statsmodels["cluster_tests"]
    for field, key in (("std_error", "std_errors"), ("t", "t_values"), ("p", "p_values")):
        np.testing.assert_allclose(column(inferred, field, 0, len(case.terms)), tests[key], rtol=1e-11)
    assert inferred.report.df == tests["df_resid_inference"]


@pytest.mark.parametrize("kind", [*HETEROSCEDASTIC, "clustered"])
def test_rows_of_weight_0_are_no_observations(kind: StandardErrors) -> None:
    """R's sandwich and statsmodels both count them somewhere; without them there is nothing to count."""
    groups = np.arange(16.0) // 3
    options = Inference(kind, "group" if kind == "clustered" else None, covariance=True)
    answers = []
    for name, kept in (("weighted_zero_row", groups), ("weighted_zero_row_removed", np.delete(groups, 4))):
        case = Case.of(name)
        answers.append(infer(case.solution, case.y, options, case.terms, case.targets, True, kept, False))
    np.testing.assert_allclose(
        [spread.std_error for spread in answers[0].spreads],
        [spread.std_error for spread in answers[1].spreads],
        rtol=1e-12,
    )
    assert answers[0].report == answers[1].report
