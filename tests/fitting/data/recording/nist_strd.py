"""Write ../nist_strd.json from the .dat files that NIST publishes, and check every number in exact arithmetic.

    python -m tests.fitting.data.recording.nist_strd FOLDER "where FOLDER came from"

FOLDER holds the eleven linear regression sets of the NIST Statistical Reference Datasets. Debian's package gretl-data
carries them unchanged in /usr/share/gretl/data/nist (`apt-get download gretl-data`, `dpkg-deb -x`). Nothing but
Python's standard library is needed. Numbers stay the text that NIST printed.
"""

import re
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.fitting.data.recording.json_file import write_json

SETS = ["Norris", "Pontius", "NoInt1", "NoInt2", "Filip", "Longley", *(f"Wampler{k}" for k in range(1, 6))]
DEGREES = {"Pontius": 2, "Filip": 10} | {f"Wampler{k}": 5 for k in range(1, 6)}


def main(folder: Path, source: str) -> None:
    sets = {name: _parse(name, (folder / f"{name}.dat").read_text(encoding="ascii"), source) for name in SETS}
    for name, text in sets.items():
        print(f"{name:9s} agrees with exact arithmetic to {agreement(text):.1f} digits at least")
    write_json(Path(__file__).parent.parent / "nist_strd.json", sets)


def _parse(name: str, text: str, source: str) -> dict[str, Any]:
    estimates = re.findall(r"^\s+B\d+\s+(\S+)\s+(\S+)\s*$", text, re.MULTILINE)
    first, last = map(int, _found(r"Data\s+\(lines (\d+) to (\d+)\)", text))
    rows = [line.split() for line in text.splitlines()[first - 1 : last]]
    regression = _found(r"^Regression\s+(\d+)\s+(\S+)\s+(\S+)\s+(\S+)", text)
    residual = _found(r"^Residual\s+(\d+)\s+(\S+)\s+(\S+)", text)
    model: dict[str, Any] = {"degree": DEGREES.get(name, 1)}
    return {
        "x": [row[1:] for row in rows],
        "y": [row[0] for row in rows],
        "model": model | ({"intercept": False} if name.startswith("NoInt") else {}),
        "beta": [estimate for estimate, _ in estimates],
        "sd": [sd for _, sd in estimates],
        "residual_sd": _found(r"Standard Deviation\s+([\d.]\S*)", text)[0],
        "r_squared": _found(r"R-Squared\s+(\S+)", text)[0],
        "f": regression[3],
        "regression_ss": regression[1],
        "regression_df": int(regression[0]),
        "regression_ms": regression[2],
        "residual_ss": residual[1],
        "residual_df": int(residual[0]),
        "residual_ms": residual[2],
        "provenance": f"NIST StRD, linear regression, {name}.dat, from {source}",
    }


def _found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise ValueError(f"not found: {pattern}")
    return match.groups()


def agreement(text: dict[str, Any]) -> float:
    """The least -log10 relative error of the certified numbers against exact rational arithmetic on the data.

    Square roots are taken of exact fractions in 60 decimals. A certified 0 must be 0.
    """
    computed, certified = exact_statistics(text), _certified(text)
    return min(_digits(certified[key], computed[key]) for key in certified)


def exact_statistics(text: dict[str, Any]) -> dict[str, Decimal]:
    """Everything certified, from the normal equations solved in rational numbers."""
    intercept = text["model"].get("intercept", True)
    columns = exact_columns(text)
    y = [Fraction(v) for v in text["y"]]
    inverse = _inverse([[_dot(u, v) for v in columns] for u in columns])
    right = [_dot(column, y) for column in columns]
    beta = [_dot(row, right) for row in inverse]
    fitted = [sum((b * c[i] for b, c in zip(beta, columns, strict=True)), Fraction(0)) for i in range(len(y))]
    residual_ss = sum(((v - f) ** 2 for v, f in zip(y, fitted, strict=True)), Fraction(0))
    centre = sum(y, Fraction(0)) / len(y) if intercept else Fraction(0)
    total_ss = sum(((v - centre) ** 2 for v in y), Fraction(0))
    df, regression_df = len(y) - len(beta), len(beta) - intercept
    ms, regression_ms = residual_ss / df, (total_ss - residual_ss) / regression_df
    exact = {
        "r_squared": 1 - residual_ss / total_ss,
        "regression_ss": total_ss - residual_ss,
        "regression_ms": regression_ms,
        "residual_ss": residual_ss,
        "residual_ms": ms,
        **({"f": regression_ms / ms} if ms else {}),
        **{f"beta{j}": b for j, b in enumerate(beta)},
    }
    squared = {"residual_sd": ms, **{f"sd{j}": ms * inverse[j][j] for j in range(len(beta))}}
    infinite = {} if ms else {"f": Decimal("Infinity")}
    return (
        {key: _decimal(value) for key, value in exact.items()}
        | {key: _root(value) for key, value in squared.items()}
        | infinite
    )


def exact_columns(text: dict[str, Any]) -> list[list[Fraction]]:
    """The design's columns: ones, and the powers of each predictor."""
    predictors = [[Fraction(v) for v in column] for column in zip(*text["x"], strict=True)]
    powers = [[v**k for v in column] for k in range(1, text["model"].get("degree", 1) + 1) for column in predictors]
    ones = [[Fraction(1)] * len(text["y"])] if text["model"].get("intercept", True) else []
    return ones + powers


def _certified(text: dict[str, Any]) -> dict[str, Decimal]:
    single = ("residual_sd", "r_squared", "f", "regression_ss", "regression_ms", "residual_ss", "residual_ms")
    numbered = {f"{key}{j}": Decimal(v) for key in ("beta", "sd") for j, v in enumerate(text[key])}
    return {key: Decimal(text[key]) for key in single} | numbered


def _digits(certified: Decimal, computed: Decimal) -> float:
    if certified == computed:
        return float("inf")
    with localcontext(prec=60):
        error = abs(certified - computed) / abs(computed)
    return float(-error.log10())


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Gauss-Jordan; the matrix is positive definite, so no pivot is 0."""
    m = len(matrix)
    rows = [row + [Fraction(int(i == j)) for j in range(m)] for i, row in enumerate(matrix)]
    for i in range(m):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(m):
            if k != i:
                rows[k] = [u - rows[k][i] * v for u, v in zip(rows[k], rows[i], strict=True)]
    return [row[m:] for row in rows]


def _dot(u: list[Fraction], v: list[Fraction]) -> Fraction:
    return sum((p * q for p, q in zip(u, v, strict=True)), Fraction(0))


def _decimal(value: Fraction) -> Decimal:
    with localcontext(prec=60):
        return Decimal(value.numerator) / Decimal(value.denominator)


def _root(value: Fraction) -> Decimal:
    with localcontext(prec=60):
        return _decimal(value).sqrt()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
