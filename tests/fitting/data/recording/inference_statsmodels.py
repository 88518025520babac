"""What statsmodels prints for inference. Run by record.py, in an environment that has statsmodels."""

import importlib
import warnings
from typing import Any

import numpy as np

from tests.fitting.data.recording.json_file import plain


def statsmodels_inference(case: dict[str, Any]) -> list[dict[str, Any]]:
    """One record a target."""
    with warnings.catch_warnings():
        # Zero weights make statsmodels take logarithms of 0.
        warnings.simplefilter("ignore")
        return [plain(_target(case, k)) for k in range(len(case["targets"]))]


def _design(case: dict[str, Any], rows: list[list[float]]) -> Any:
    x = np.array(rows, dtype=np.float64)
    return np.column_stack([np.ones(len(x)), x]) if case["intercept"] else x


def _target(case: dict[str, Any], k: int) -> dict[str, Any]:
    sm = importlib.import_module("statsmodels.api")
    a, y = _design(case, case["x"]), np.array(case["y"])[:, k]
    model = sm.OLS(y, a) if case["weights"] is None else sm.WLS(y, a, weights=np.array(case["weights"]))
    fit = model.fit()
    return {
        "target": case["targets"][k],
        **_summary(fit),
        "hc": {kind: fit.get_robustcov_results(cov_type=kind).cov_params() for kind in ("HC0", "HC1", "HC2", "HC3")},
        "hc_tests": {kind: _tests(fit.get_robustcov_results(cov_type=kind)) for kind in ("HC1", "HC3")},
        **(_clusters(fit, case["groups"]) if case["groups"] is not None else {}),
        **(_influence(fit) if case["weights"] is None else {}),
        "vif": _vif(a),
        "predict": _prediction(fit, _design(case, case["new_x"])),
    }


def _summary(fit: Any) -> dict[str, Any]:
    return {
        "coefficients": fit.params,
        "std_errors": fit.bse,
        "t_values": fit.tvalues,
        "p_values": fit.pvalues,
        "confidence_95": fit.conf_int(0.05),
        "vcov": fit.cov_params(),
        "residual_sd": float(np.sqrt(fit.scale)),
        "df_residual": fit.df_resid,
        "df_model": fit.df_model,
        "k_constant": fit.k_constant,
        "rank": int(fit.model.rank),
        "r_squared": fit.rsquared,
        "adj_r_squared": fit.rsquared_adj,
        "f_value": fit.fvalue,
        "f_p_value": fit.f_pvalue,
        "log_likelihood": fit.llf,
        "aic": fit.aic,
        "bic": fit.bic,
        "nobs": fit.nobs,
        "ssr": fit.ssr,
        "ess": fit.ess,
        "centered_tss": fit.centered_tss,
        "uncentered_tss": fit.uncentered_tss,
        "fitted": fit.fittedvalues,
        "residuals": fit.resid,
        "condition_number": fit.condition_number,
    }


def _tests(fit: Any) -> dict[str, Any]:
    return {
        "use_t": fit.use_t,
        "std_errors": fit.bse,
        "t_values": fit.tvalues,
        "p_values": fit.pvalues,
        "confidence_95": fit.conf_int(0.05),
        "f_value": float(fit.fvalue),
        "f_p_value": float(fit.f_pvalue),
    }


def _clusters(fit: Any, groups: list[int]) -> dict[str, Any]:
    robust = fit.get_robustcov_results(cov_type="cluster", groups=np.array(groups), use_correction=True)
    plain_sum = fit.get_robustcov_results(cov_type="cluster", groups=np.array(groups), use_correction=False)
    return {
        "cluster": robust.cov_params(),
        "cluster_tests": _tests(robust) | {"df_resid_inference": robust.df_resid_inference},
        "cluster_without_correction": plain_sum.cov_params(),
    }


def _influence(fit: Any) -> dict[str, Any]:
    # Only without weights: statsmodels' influence leaves them out in part.
    influence = fit.get_influence()
    return {
        "leverage": influence.hat_matrix_diag,
        "studentised_internal": influence.resid_studentized_internal,
        "studentised_external": influence.resid_studentized_external,
        "cooks_distance": influence.cooks_distance[0],
    }


def _vif(a: Any) -> list[float]:
    """One a column of the design given to the function, the intercept's own first where there is one.

    statsmodels' is uncentred: the R squared of a column regressed on the others, the constant being one of them.
    """
    influence = importlib.import_module("statsmodels.stats.outliers_influence")
    if a.shape[1] == 1:
        return [float("nan")]
    return [float(influence.variance_inflation_factor(a, j)) for j in range(a.shape[1])]


def _prediction(fit: Any, a: Any) -> dict[str, Any]:
    prediction = fit.get_prediction(a)
    confidence, interval = prediction.conf_int(alpha=0.05), prediction.conf_int(obs=True, alpha=0.05)
    return {
        "fit": prediction.predicted_mean,
        "se_fit": prediction.se_mean,
        "confidence_95": {"lower": confidence[:, 0], "upper": confidence[:, 1]},
        "prediction_95": {"lower": interval[:, 0], "upper": interval[:, 1]},
    }
