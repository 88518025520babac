"""Thinning a trajectory that is there already, in one piece or in parts."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.fitting.thinning import Thinning, places_kept
from service.fitting.trajectory import Trajectory
from tests.fitting.trajectories import account

losses = st.lists(st.integers(0, 20), min_size=1, max_size=120)


def _trajectory(sizes: list[int]) -> Trajectory:
    told = account(3 * len(sizes))
    records = np.zeros(len(sizes), told.layout)
    records["step"] = 3 * np.arange(len(sizes))
    records["parameters"][:, 0, 0] = sizes
    return Trajectory(told, records)


@given(sizes=losses, limit=st.one_of(st.none(), st.integers(2, 40)), cuts=st.lists(st.integers(0, 120), max_size=4))
def test_parts_are_thinned_as_the_whole_is(sizes: list[int], limit: int | None, cuts: list[int]) -> None:
    whole = _trajectory(sizes)
    thinning = Thinning(whole.account, len(sizes), limit)
    bounds = sorted({0, len(sizes), *(cut for cut in cuts if cut < len(sizes))})
    for first, last in pairwise(bounds):
        thinning.take(whole.take(slice(first, last)))
    kept = thinning.whole()
    expected = places_kept(whole.original.loss, limit)
    np.testing.assert_array_equal(kept.records, whole.take(expected).records)


@given(sizes=losses, limit=st.integers(2, 40))
def test_first_last_and_least_are_kept(sizes: list[int], limit: int) -> None:
    places = places_kept(np.array(sizes, float), limit)
    assert len(places) == min(limit, len(sizes))
    assert (places[0], places[-1]) == (0, len(sizes) - 1)
    assert np.diff(places).min(initial=1) > 0
    if limit > 2:
        assert min(sizes) in np.array(sizes)[places]


def test_without_a_lower_one_between_they_are_evenly_spaced() -> None:
    assert places_kept(np.arange(101.0), 3).tolist() == [0, 50, 100]
    assert places_kept(np.arange(101.0)[::-1], 5).tolist() == [0, 25, 50, 75, 100]
    assert places_kept(np.where(np.arange(101) == 31, -1.0, 0.0), 5).tolist() == [0, 31, 50, 75, 100]


def test_a_loss_that_is_no_number_is_not_the_least() -> None:
    assert places_kept(np.array([np.inf, np.nan, np.inf, 5.0, np.nan, np.nan]), 3).tolist() == [0, 3, 5]


def test_nothing_thinned_is_nothing() -> None:
    told = account(3)
    assert Thinning(told, 0, 5).whole().recorded == 0
    assert places_kept(np.empty(0), 5).tolist() == []
