"""How many processor cores there are, and one worker's share of them."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_PROCESS_GROUPS, _MOUNT = "proc/self/cgroup", "sys/fs/cgroup"


@dataclass(frozen=True)
class Share:
    """The threads that one worker's fits compute with, and in words why so many."""

    threads: int
    reason: str


def share(wanted: int, workers: int) -> Share:
    """What was asked for; where that is 0, the cores divided among the workers, and at least one.

    Pools of as many threads as there are cores, in several processes at once, are slower than a single thread: they
    wait at every barrier for a thread that has no core.
    """
    if wanted > 0:
        return Share(wanted, "as PLUMBLINE_THREADS says")
    cores, workers = available_cores(), max(workers, 1)
    return Share(max(cores // workers, 1), f"cores {cores}, workers {workers}")


def available_cores(root: Path = Path("/")) -> int:
    """The cores that this process may run on, or as many whole ones as its control groups may use the time of.

    Parameters
    ----------
    root
        Where the system's own files are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(math.floor(min([allowed, *map(_quota, _groups(root))])), 1)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control groups, of either version, and of those above them; none on macOS."""
    with suppress(OSError):
        for line in (root / _PROCESS_GROUPS).read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            group = PurePosixPath(path.lstrip("/"))
            if controllers == "" or "cpu" in controllers.split(","):
                mount = root / _MOUNT / ("cpu" if controllers else "")
                yield from (mount / folder for folder in (group, *group.parents))


def _quota(group: Path) -> float:
    """The time that a control group may use, in cores; infinite where it has no limit.

    Linux kernel documentation: "Control Group v2", cpu.max; "CFS Bandwidth Control", cpu.cfs_quota_us.
    """
    try:
        if (both := group / "cpu.max").exists():
            quota, period = both.read_text(encoding="ascii").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        cores = int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf
    return cores if cores > 0 else math.inf
