"""The questions put to R's lm and statsmodels' OLS, to test their emulations by: easy, hard and degenerate ones.

Each is {terms, intercept, x (n, p), targets, y (n, q), weights (n,) or null}.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent.parent


def others_inputs() -> dict[str, dict[str, Any]]:
    """All questions by name."""
    return _nist() | _aliased() | _short() | _weighted() | _shaped() | _scaled() | _at_the_edges()


def _nist() -> dict[str, dict[str, Any]]:
    sets = json.loads((DATA / "nist_strd.json").read_text(encoding="utf-8"))
    return {f"nist_{name}": _nist_case(text) for name, text in sets.items()}


def _nist_case(text: dict[str, Any]) -> dict[str, Any]:
    x = np.array(text["x"], dtype=np.float64)
    degree = text["model"]["degree"]
    columns = np.hstack([x**k for k in range(1, degree + 1)])
    names = [f"x^{k}" for k in range(1, degree + 1)] if degree > 1 else None
    return _case(columns, np.array(text["y"], dtype=np.float64), text["model"].get("intercept", True), names=names)


def _aliased() -> dict[str, dict[str, Any]]:
    stream = np.random.default_rng(31)
    x = np.round(stream.normal(3.0, 2.0, size=(14, 3)), 2)
    x1, x2, x3 = x.T
    y = np.round(2.0 + x @ [1.0, -0.5, 0.25] + stream.normal(size=14), 3)
    dummies = np.eye(3)[np.arange(14) % 3]
    return {
        "combination": _case(np.column_stack([x1, x2, 2.0 * x1 - x2]), y),
        "combination_in_the_middle": _case(np.column_stack([x1, 3.0 * x1, x3, x1 + x3, x2]), y),
        "intercept_again": _case(np.column_stack([np.ones(14), x1]), y),
        "constant_column": _case(np.column_stack([x1, np.full(14, 7.5), x2]), y),
        "zero_column": _case(np.column_stack([np.zeros(14), x1]), y),
        "all_zero": _case(np.zeros((14, 2)), y, False),
        "dummy_trap": _case(dummies, y),
        "dummy_trap_with_feature": _case(np.column_stack([dummies, x1]), y),
        "combination_without_intercept": _case(np.column_stack([x1, x2, x1 + x2]), y, False),
    }


def _short() -> dict[str, dict[str, Any]]:
    stream = np.random.default_rng(32)
    x = np.round(stream.normal(size=(6, 9)), 2)
    y = np.round(stream.normal(size=6), 2)
    return {
        "fewer_rows_than_columns": _case(x[:3, :5], y[:3]),
        "fewer_rows_and_a_combination": _case(np.column_stack([x[:4, 0], 2.0 * x[:4, 0], x[:4, 1:6]]), y[:4]),
        "square": _case(x[:4, :3], y[:4]),
        "square_without_intercept": _case(x[:4, :4], y[:4], False),
        "one_row": _case(x[:1, :2], y[:1]),
        "one_row_without_intercept": _case(x[:1, :3], y[:1], False),
        "one_row_one_column": _case(x[:1, :1], y[:1], False),
    }


def _weighted() -> dict[str, dict[str, Any]]:
    stream = np.random.default_rng(33)
    x = np.round(stream.normal(3.0, 2.0, size=(12, 2)), 2)
    y = np.round(1.0 + x @ [0.7, -1.1] + stream.normal(size=12), 3)
    weights = np.round(stream.uniform(0.1, 5.0, size=12), 2)
    kept_two = np.where(np.arange(12) < 2, weights, 0.0)
    return {
        "weights": _case(x, y, weights=weights),
        "weights_some_zero": _case(x, y, weights=np.where(np.arange(12) % 4 == 1, 0.0, weights)),
        "weights_leave_two_rows": _case(x, y, weights=kept_two),
        "weights_all_zero": _case(x, y, weights=np.zeros(12)),
        "weights_of_all_sizes": _case(x, y, weights=10.0 ** np.arange(-6, 6)),
        "weights_without_intercept": _case(x, y, False, weights=weights),
    }


def _shaped() -> dict[str, dict[str, Any]]:
    stream = np.random.default_rng(34)
    x = np.round(stream.normal(3.0, 2.0, size=(15, 3)), 2)
    y = np.round(x @ stream.normal(size=(3, 2)) + stream.normal(size=(15, 2)), 3)
    return {
        "two_targets": _case(x, y),
        "two_targets_and_a_combination": _case(np.column_stack([x[:, :2], x[:, 0] - x[:, 1]]), y),
        "no_intercept": _case(x, y[:, 0], False),
        "intercept_alone": _case(np.empty((15, 0)), y[:, 0]),
        "exact_fit": _case(x, 1.0 + x @ [1.0, 2.0, 3.0]),
        "target_of_zeros": _case(x, np.zeros(15)),
    }


def _scaled() -> dict[str, dict[str, Any]]:
    stream = np.random.default_rng(35)
    x = stream.normal(size=(13, 2))
    y = 0.5 + x @ [1.0, -1.0] + stream.normal(size=13)
    # Columns of length 1 at right angles, so that the singular values are the sizes they are given.
    crossed = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]) / 2.0
    small = np.array([1.0, 2.0, -1.0, 0.5])
    return {
        "tiny_column": _case(x * [1e-9, 1.0], y),
        "tiny_columns": _case(x * 1e-9, y),
        "wide_scales": _case(x * [1e-9, 1e9], y),
        "beyond_pinv": _case(crossed * [1.0, 0.7e-15], small, False),
        "within_pinv": _case(crossed * [1.0, 2e-15], small, False),
        "within_pinv_beyond_rank": _case(
            np.kron(np.eye(4), crossed) * np.array([1.0] * 7 + [1.4e-15]), np.tile(small, 4), False
        ),
        "extreme_scales": _case(x * [1e-300, 1e300], y),
        "large_offsets": _case(x + np.array([1e6, -1e5]), y),
    }


def _at_the_edges() -> dict[str, dict[str, Any]]:
    """Second columns of which the given share of the length is new beside the intercept and the first.

    R's tolerance is 1e-7: below it the column is left out.
    """
    stream = np.random.default_rng(36)
    ones, first, new = np.linalg.qr(np.column_stack([np.ones(16), stream.normal(size=(16, 2))]))[0].T
    y = stream.normal(size=16)
    shares = {"far_inside": 1e-5, "just_inside": 1.02e-7, "just_outside": 0.98e-7, "far_outside": 1e-9}
    return {
        f"near_collinear_{name}": _case(
            np.column_stack([first + ones, 3.0 * first + 2.0 * ones + share * 13.0**0.5 * new]), y
        )
        for name, share in shares.items()
    }


def _case(
    x: Any, y: Any, intercept: bool = True, *, weights: Any = None, names: list[str] | None = None
) -> dict[str, Any]:
    y = y if y.ndim == 2 else y[:, None]
    features = names or [f"x{j + 1}" for j in range(x.shape[1])]
    return {
        "terms": (["(intercept)"] if intercept else []) + features,
        "intercept": intercept,
        "x": x.tolist(),
        "targets": ["y"] if y.shape[1] == 1 else [f"y{k + 1}" for k in range(y.shape[1])],
        "y": y.tolist(),
        "weights": None if weights is None else weights.tolist(),
    }
