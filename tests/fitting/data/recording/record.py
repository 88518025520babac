"""Record again what R and statsmodels say: writes ../inference_recorded.json and ../others_recorded.json.

    python -m tests.fitting.data.recording.record inference     (or: others)

from the root of the repository. Needs `Rscript` on the path (Debian: r-base-core r-cran-jsonlite r-cran-sandwich), for
inference `gretlcli` too (Debian: gretl) and, in the Python that runs this, numpy and statsmodels from PyPI. The tests
that read the files need none of it. The versions that made the recordings are written inside.
"""

import importlib
import json
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.fitting.data.recording.inference_gretl import gretl_collinearity, gretl_version
from tests.fitting.data.recording.inference_inputs import inference_inputs
from tests.fitting.data.recording.inference_statsmodels import statsmodels_inference
from tests.fitting.data.recording.json_file import write_json
from tests.fitting.data.recording.others_inputs import others_inputs
from tests.fitting.data.recording.others_statsmodels import statsmodels_answer

HERE = Path(__file__).parent

NUMBERS = (
    'numbers read back to the very double that was computed; NA and NaN are null; infinities are "Infinity" strings'
)


def record_inference() -> None:
    cases = inference_inputs()
    from_r = _run_r("record_inference.R", cases)
    write_json(
        HERE.parent / "inference_recorded.json",
        {
            "provenance": _provenance(from_r)
            | {
                "r_calls": "lm(target ~ x1 + ..[, weights = w]); summary, confint, vcov, logLik, AIC, BIC, hatvalues, "
                "rstandard, rstudent, cooks.distance, kappa(exact = TRUE), predict(interval = ..); "
                "sandwich::vcovHC(type = ..), sandwich::vcovCL(cluster = groups, type = 'HC1', cadjust = TRUE) and "
                "(type = 'HC0', cadjust = FALSE)",
                "statsmodels_calls": "OLS(y, A).fit() or WLS(y, A, weights).fit(); "
                "get_robustcov_results('HC0' .. 'HC3'), ('cluster', groups=groups, use_correction=True); "
                "get_influence() (without weights); variance_inflation_factor(A, j) for every column of A, the "
                "intercept's included; get_prediction(A_new).conf_int(obs=..)",
                "gretl": gretl_version(),
                "gretl_calls": "ols (or wls) with bkw($vcv): eigenvalues, condition indices and variance proportions "
                "(one row an index, one column a term) of the design with columns scaled to unit length, the intercept "
                "included; first target; from the inverse covariance matrix, so half the digits where ill-conditioned",
                "differences": "R's AIC and BIC count the residual variance as a parameter, statsmodels' do not; R "
                "leaves rows of weight 0 out of nobs, degrees of freedom and likelihood, statsmodels counts them; the "
                "intervals of both for new rows of a weighted fit take weight 1",
            },
            "cases": {
                name: {
                    "input": case,
                    "r": from_r["cases"][name],
                    "statsmodels": statsmodels_inference(case),
                    "gretl": gretl_collinearity(case),
                }
                for name, case in cases.items()
            },
        },
    )


def record_others() -> None:
    cases = others_inputs()
    from_r = _run_r("record_others.R", cases)
    write_json(
        HERE.parent / "others_recorded.json",
        {
            "provenance": _provenance(from_r)
            | {
                "r_calls": "lm(Y ~ X), lm(Y ~ 0 + X), lm(Y ~ 1)[, weights = w]: coef, rank, qr$pivot",
                "statsmodels_calls": "OLS(y, A).fit() or WLS(y, A, weights).fit(), target by target: params, "
                "model.rank, model.wexog_singular_values",
            },
            "cases": {
                name: {"input": case, "r": from_r["cases"][name], "statsmodels": statsmodels_answer(case)}
                for name, case in cases.items()
            },
        },
    )


def _run_r(script: str, cases: dict[str, Any]) -> Any:
    """The script's answer; fails where R did not read the very numbers it was given."""
    with tempfile.TemporaryDirectory() as folder:
        given, written = Path(folder, "inputs.json"), Path(folder, "out.json")
        given.write_text(json.dumps(cases), encoding="utf-8")
        subprocess.run(["Rscript", "--vanilla", str(HERE / script), str(given), str(written)], check=True)
        answer = json.loads(written.read_text(encoding="utf-8"))
    for name, case in cases.items():
        if answer["echo"][name] != {key: case[key] for key in ("x", "y")}:
            raise ValueError(f"R read other numbers than were written: {name}")
    return answer


def _provenance(from_r: Any) -> dict[str, Any]:
    return {
        "made_by": "tests/fitting/data/recording/record.py",
        "date": datetime.now(tz=UTC).date().isoformat(),
        "r": {"version": from_r["program"], "packages": from_r["packages"]},
        "statsmodels": {
            "version": importlib.import_module("statsmodels").__version__,
            "python": platform.python_version(),
            "numpy": importlib.import_module("numpy").__version__,
            "scipy": importlib.import_module("scipy").__version__,
        },
        "numbers": NUMBERS,
    }


if __name__ == "__main__":
    {"inference": record_inference, "others": record_others}[sys.argv[1]]()
