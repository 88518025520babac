import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fitting.others.dqrdc2 import factor


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 9),
    m=st.integers(1, 6),
    aliased=st.sets(st.integers(0, 5), max_size=3),
)
def test_it_factors_the_columns_it_keeps_and_explains_the_others(seed: int, n: int, m: int, aliased: set[int]) -> None:
    stream = np.random.default_rng(seed)
    a, y = stream.normal(size=(n, m)), stream.normal(size=(n, 2))
    for j in aliased & set(range(1, m)):
        a[:, j] = a[:, :j] @ stream.normal(size=j)
    found = factor(a, y, 1e-7)
    kept = a[:, found.columns[: found.rank]]
    assert sorted(found.columns) == list(range(m))
    assert found.rank == np.linalg.matrix_rank(a, tol=1e-9)
    np.testing.assert_allclose(found.triangle.T @ found.triangle, kept.T @ kept, atol=1e-12 * np.abs(a).max() ** 2 * n)
    np.testing.assert_allclose(found.triangle.T @ found.projected, kept.T @ y, atol=1e-12 * np.abs(a).max() * n)


def test_what_is_kept_stays_in_order() -> None:
    a = np.random.default_rng(2).normal(size=(8, 5))
    a[:, 1] = 3.0 * a[:, 0]
    a[:, 3] = a[:, 0] - a[:, 2]
    found = factor(a, np.zeros((8, 1)), 1e-7)
    assert found.columns.tolist() == [0, 2, 4, 1, 3]
    assert found.shares[[1, 3]].max() < 1e-15


@pytest.mark.parametrize("share", [1e-2, 1e-4, 1e-6, 1e-8, 1e-11])
def test_the_share_left_of_a_column_is_true_however_little(share: float) -> None:
    first, new = np.linalg.qr(np.random.default_rng(3).normal(size=(9, 2)))[0].T
    found = factor(np.column_stack([first, first + share * new]), np.zeros((9, 1)), 1e-7)
    assert found.shares[1] == pytest.approx(share, rel=1e-3)
    assert found.rank == (2 if share > 1e-7 else 1)


def test_columns_beyond_the_last_row_are_never_looked_at() -> None:
    found = factor(np.random.default_rng(4).normal(size=(2, 4)), np.zeros((2, 1)), 1e-7)
    assert found.rank == 2
    np.testing.assert_array_equal(np.isnan(found.shares), [False, False, True, True])


def test_the_callers_matrices_stay_as_they_are() -> None:
    a, y = np.random.default_rng(5).normal(size=(6, 3)), np.ones((6, 1))
    before = a.copy()
    factor(a, y, 1e-7)
    np.testing.assert_array_equal(a, before)
    np.testing.assert_array_equal(y, np.ones((6, 1)))
