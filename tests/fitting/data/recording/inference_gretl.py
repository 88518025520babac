"""What gretl prints for collinearity. Run by record.py where `gretlcli` is on the path (Debian: gretl).

R's base packages and statsmodels have neither condition indices nor Belsley's variance proportions; gretl's bkw() has.
It works from the inverse of the covariance matrix, so of an ill-conditioned design about half the digits are lost.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

_NUMBER = r"[-+\d.e]+"


def gretl_collinearity(case: dict[str, Any]) -> dict[str, Any] | None:
    """Of the first target's fit (the targets share it); None where a row has weight 0, or there is one column."""
    weights = case["weights"]
    if len(case["terms"]) < 2 or (weights is not None and 0.0 in weights):
        return None
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "collinearity.inp")
        script.write_text(_script(case), encoding="utf-8")
        out = subprocess.run(["gretlcli", "-b", str(script)], check=True, capture_output=True, text=True).stdout
    rows = [[float(v) for v in line.split()[1:]] for line in out.splitlines() if re.match(rf"row( {_NUMBER})+$", line)]
    return {
        "eigenvalues": [row[0] for row in rows],
        "condition_indices": [row[1] for row in rows],
        "variance_proportions": [row[2:] for row in rows],
    }


def gretl_version() -> str:
    out = subprocess.run(["gretlcli", "--version"], check=True, capture_output=True, text=True).stdout
    return out.splitlines()[0]


def _script(case: dict[str, Any]) -> str:
    features = [term for term in case["terms"] if term != "(intercept)"]
    columns = dict(zip(features, zip(*case["x"], strict=True), strict=True))
    columns["target"] = [row[0] for row in case["y"]]
    if case["weights"] is not None:
        columns["w"] = case["weights"]
    series = [f"series {name} = {{{', '.join(map(repr, values))}}}'" for name, values in columns.items()]
    fit = "ols target" if case["weights"] is None else "wls w target"
    regressors = " ".join((["const"] if case["intercept"] else []) + features)
    return "\n".join(
        [
            "set echo off",
            "set messages off",
            f"nulldata {len(case['x'])}",
            *series,
            f"{fit} {regressors} --quiet",
            "matrix B = bkw($vcv)",
            "loop i=1..rows(B)",
            'printf "row"',
            "loop j=1..cols(B)",
            'printf " %.17g", B[i,j]',
            "endloop",
            'printf "\\n"',
            "endloop",
            "",
        ]
    )
