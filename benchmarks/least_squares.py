"""The certified reference against what others offer for the same design, most of it without refinement."""

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LinearRegression

from benchmarks.figure import Figure, seconds
from service.fitting.reference.least_squares import least_squares


def figures() -> Iterator[Figure]:
    """See the module."""
    for rows, columns, goal in ((50, 1, 1.0), (100_000, 10, 5.0), (100_000, 100, 5.0)):
        stream = np.random.default_rng(0)
        x = stream.normal(size=(rows, columns))
        a = np.hstack([np.ones((rows, 1)), x])
        y = x.sum(axis=1, keepdims=True) + stream.normal(size=(rows, 1))
        repeats = 3 if rows > 1000 else 50
        ours = seconds(lambda a=a, y=y: least_squares(a, y), repeats)  # type: ignore[misc]
        theirs = seconds(lambda x=x, y=y: LinearRegression().fit(x, y), repeats)  # type: ignore[misc]
        gram = seconds(lambda a=a: a.T @ a, repeats)  # type: ignore[misc]
        yield Figure(f"least_squares_{rows}x{columns}", theirs / ours, goal, "scikit_learn_linear_regression")
        yield Figure(f"least_squares_{rows}x{columns}", gram / ours, 1 / 2.5, "gram_matrix_alone")
