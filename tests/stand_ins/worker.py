"""Stands in for a worker: has a child of its own, and ends on SIGTERM, unless --stubborn."""

import argparse
import os
import signal
import subprocess
import sys

from service.lifeline import watch

parser = argparse.ArgumentParser()
parser.add_argument("--lifeline-fd", type=int, required=True)
parser.add_argument("--stubborn", action="store_true")
options = parser.parse_args()


def asked_to_stop(*_: object) -> None:
    print("worker was asked to stop", file=sys.stderr, flush=True)
    if not options.stubborn:
        sys.exit(0)


def alone() -> None:
    child.kill()
    os._exit(3)


signal.signal(signal.SIGTERM, asked_to_stop)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
watch(options.lifeline_fd, alone)
os.write(2, f"worker {os.getpid()}\n".encode())  # whole, however many write at once
while True:
    signal.pause()
