"""A worker's share of the cores: what the system allows, divided."""

import os
from pathlib import Path

import pytest

from service.jobs import cores
from service.jobs.cores import available_cores, share

SECOND, FIRST = "0::/a.slice/b.service", "5:cpuset:/elsewhere\n4:cpu,cpuacct:/a/b"
ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("wanted", "available", "workers", "threads"),
    [
        (0, 2, 1, 2),
        (0, 2, 2, 1),
        (0, 2, 3, 1),
        (0, 16, 3, 5),
        (0, 4, 0, 4),
        (1, 16, 2, 1),
        (8, 2, 2, 8),
    ],
)
def test_a_share_is_what_was_asked_for_or_fair(
    wanted: int, available: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: available)
    assert share(wanted, workers).threads == threads


def test_a_share_says_how_it_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: 6)
    assert share(0, 2).reason == "cores 6, workers 2"
    assert share(4, 2).reason == "as PLUMBLINE_THREADS says"


@pytest.mark.parametrize(
    ("group", "files", "most"),
    [
        (SECOND, {}, None),
        (SECOND, {"a.slice/b.service/cpu.max": "max 100000"}, None),
        (SECOND, {"a.slice/b.service/cpu.max": "100000 100000"}, 1),
        (SECOND, {"a.slice/cpu.max": "150000 100000", "a.slice/b.service/cpu.max": "max 100000"}, 1),
        (SECOND, {"cpu.max": "20000 100000"}, 1),
        (SECOND, {"cpu.max": "nonsense"}, None),
        (SECOND, {"elsewhere/cpu.max": "100000 100000"}, None),
        (FIRST, {"cpu/a/b/cpu.cfs_quota_us": "-1", "cpu/a/b/cpu.cfs_period_us": "100000"}, None),
        (FIRST, {"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "100000"}, 1),
        (FIRST, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        (FIRST, {"cpu/cpu.cfs_quota_us": "50000"}, None),
    ],
)
def test_no_more_cores_than_the_control_groups_pay_for(
    tmp_path: Path, group: str, files: dict[str, str], most: int | None
) -> None:
    _write(tmp_path / "proc/self/cgroup", group)
    for name, content in files.items():
        _write(tmp_path / "sys/fs/cgroup" / name, content)
    assert available_cores(tmp_path) == (ALLOWED if most is None else most)


def test_without_control_groups_all_allowed_cores_are_there(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == ALLOWED


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content + "\n", encoding="utf-8")
