"""The datasets whose inference is recorded: small, moderately conditioned, decimal numbers of few digits.

Each is {terms, intercept, x (n, p), targets, y (n, q), weights (n,) or null, groups (n,) or null, new_x (k, p)}.
The random ones come from a fixed seed and are rounded, so that what is written down is the whole dataset.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent.parent


def inference_inputs() -> dict[str, dict[str, Any]]:
    """All datasets by name."""
    weighted = _drawn(24, 16, 2, weights=True)
    with_zero = dict(weighted, weights=[0.0 if row == 4 else w for row, w in enumerate(weighted["weights"])])
    return {
        "simple_line": _drawn(21, 12, 1),
        "three_features": _drawn(22, 20, 3),
        "no_intercept": _drawn(23, 15, 2, intercept=False),
        "weighted": weighted,
        "weighted_zero_row": with_zero,
        "weighted_zero_row_removed": _without_row(with_zero, 4),
        "weighted_no_intercept": _drawn(25, 14, 2, weights=True, intercept=False),
        "two_targets": _drawn(26, 18, 2, targets=2),
        "longley": _longley(),
        "clustered": _clustered(),
    }


def _drawn(
    seed: int, n: int, p: int, *, targets: int = 1, intercept: bool = True, weights: bool = False
) -> dict[str, Any]:
    stream = np.random.default_rng(seed)
    x = np.round(stream.normal(5.0, 2.0, size=(n, p)), 2)
    slopes = np.round(stream.normal(size=(p, targets)), 2)
    y = np.round(3.0 * intercept + x @ slopes + stream.normal(size=(n, targets)), 3)
    return _case(
        x,
        y,
        intercept=intercept,
        weights=np.round(stream.uniform(0.2, 3.0, size=n), 2) if weights else None,
        new_x=np.round(stream.normal(5.0, 3.0, size=(4, p)), 1),
    )


def _clustered() -> dict[str, Any]:
    """60 rows in 12 groups of unequal size, one feature constant within each group."""
    stream = np.random.default_rng(27)
    groups = np.sort(np.concatenate([np.repeat(np.arange(12), 2), stream.integers(0, 12, size=36)]))
    shared = np.round(stream.normal(size=12), 2)
    x = np.round(np.column_stack([stream.normal(2.0, 1.0, size=60), shared[groups]]), 2)
    y = np.round(1.0 + x @ [[0.5], [-0.8]] + stream.normal(size=12)[groups][:, None] + stream.normal(size=(60, 1)), 3)
    order = stream.permutation(60)
    return _case(x[order], y[order], groups=groups[order], new_x=np.array([[0.0, 0.0], [2.0, 0.5], [4.5, -1.5]]))


def _longley() -> dict[str, Any]:
    text = json.loads((DATA / "nist_strd_sample.json").read_text(encoding="utf-8"))["Longley"]
    x = np.array(text["x"], dtype=np.float64)
    return _case(x, np.array(text["y"], dtype=np.float64)[:, None], new_x=x[[0, 7, 15]] + [1, 1000, 10, -10, 100, 1])


def _case(
    x: Any, y: Any, *, new_x: Any, intercept: bool = True, weights: Any = None, groups: Any = None
) -> dict[str, Any]:
    features = [f"x{j + 1}" for j in range(x.shape[1])]
    return {
        "terms": (["(intercept)"] if intercept else []) + features,
        "intercept": intercept,
        "x": x.tolist(),
        "targets": ["y"] if y.shape[1] == 1 else [f"y{k + 1}" for k in range(y.shape[1])],
        "y": y.tolist(),
        "weights": None if weights is None else weights.tolist(),
        "groups": None if groups is None else groups.tolist(),
        "new_x": new_x.tolist(),
    }


def _without_row(case: dict[str, Any], row: int) -> dict[str, Any]:
    return case | {key: [v for i, v in enumerate(case[key]) if i != row] for key in ("x", "y", "weights")}
