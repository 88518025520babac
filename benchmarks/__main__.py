"""`make bench`: one line a figure, ``name ratio goal peer``. Names on the command line pick programs."""

import sys
from importlib import import_module

from service.fitting.threads import use_threads
from service.jobs.cores import available_cores

PROGRAMS = ("least_squares", "descent", "trajectories", "http", "http_descent", "forecasts", "queued")
#: Those that take many minutes, run by name only.
LONG_PROGRAMS = ("soak", "queueing")


def main(names: list[str]) -> None:
    """Run the named programs, or all."""
    # Before the libraries are loaded, as a worker's child does: ours and the peers' have the same threads.
    use_threads(available_cores())
    for name in names or PROGRAMS:
        for figure in import_module(f"benchmarks.{name}").figures():
            print(figure, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
