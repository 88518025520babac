"""Starts the bundled PostgreSQL in the folder given, says so, and waits to be killed."""

import signal
import sys
from pathlib import Path

from service.database.bundled import BundledPostgres

print(BundledPostgres(Path(sys.argv[1])).start(), flush=True)
signal.pause()
