"""The table of legal transitions."""

from typing import get_args

import pytest

from service.jobs.records import FitStatus
from service.jobs.transitions import FINISHED, FOLLOWERS, is_final, revivable, sources

EVERY: tuple[FitStatus, ...] = get_args(FitStatus)


def test_the_table_has_every_status() -> None:
    assert set(FOLLOWERS) == set(EVERY)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_no_worker_changes_what_is_finished(status: FitStatus) -> None:
    assert is_final(status)
    assert status in FINISHED
    assert all(status not in sources(later) for later in EVERY)


@pytest.mark.parametrize("status", ["queued", "running"])
def test_what_is_unfinished_can_be_finished(status: FitStatus) -> None:
    assert not is_final(status)
    assert status in sources("failed")
    assert status in sources("cancelled")


def test_only_a_running_fit_succeeds_or_goes_back() -> None:
    assert sources("succeeded") == ["running"]
    assert sources("queued") == ["running"]


def test_a_client_may_only_have_a_failed_fit_tried_again() -> None:
    assert {status: revivable(status) for status in EVERY if revivable(status)} == {"queued": ["failed"]}
