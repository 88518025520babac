"""What statsmodels says to hard questions. Run by record.py, in an environment that has statsmodels."""

import importlib
import warnings
from typing import Any

import numpy as np

from tests.fitting.data.recording.json_file import plain


def statsmodels_answer(case: dict[str, Any]) -> dict[str, Any]:
    """Rank and coefficients (q, m), a model for each target; or what was raised."""
    sm = importlib.import_module("statsmodels.api")
    x, y = np.array(case["x"], dtype=np.float64), np.array(case["y"], dtype=np.float64)
    a = np.column_stack([np.ones(len(x)), x]) if case["intercept"] else x
    with warnings.catch_warnings():
        # statsmodels warns of short ranks, which are recorded.
        warnings.simplefilter("ignore")
        try:
            models = [_model(sm, column, a, case["weights"]) for column in y.T]
            fits = [model.fit() for model in models]
        except (ArithmeticError, ValueError) as failure:
            return {"error": f"{type(failure).__name__}: {failure}"}
    return {
        "rank": int(models[0].rank),
        "coefficients": plain(np.array([fit.params for fit in fits])),
        "singular_values": plain(models[0].wexog_singular_values),
    }


def _model(sm: Any, y: Any, a: Any, weights: list[float] | None) -> Any:
    return sm.OLS(y, a) if weights is None else sm.WLS(y, a, weights=np.array(weights))
