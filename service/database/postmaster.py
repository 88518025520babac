"""What PostgreSQL says about its running server, in the file postmaster.pid of its data folder."""

from dataclasses import dataclass
from pathlib import Path

import psutil

FILE_NAME = "postmaster.pid"
READY = "ready"


@dataclass(frozen=True)
class Postmaster:
    """One reading of the file; `status` is empty until the server has got that far."""

    pid: int
    data: Path
    socket_folder: Path
    status: str

    def process(self) -> psutil.Process | None:
        """Return the server's process, or None when it is gone and another may bear its number."""
        try:
            process = psutil.Process(self.pid)
            return process if str(self.data) in process.cmdline() else None
        except psutil.Error:
            return None


def read(data: Path) -> Postmaster | None:
    """Return what the file says, or None without a file (or with one still being written)."""
    try:
        lines = (data / FILE_NAME).read_text().splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    lines += [""] * (8 - len(lines))
    return Postmaster(pid, data, Path(lines[4]), lines[7].strip())
