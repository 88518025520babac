"""`plumbline fit`, `watch` and `cancel`: what they do, and with which exit code they end."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from rich.console import Console

from service.watching.answer import print_answer
from service.watching.bar import show
from service.watching.events import follow
from service.watching.remote import NothingToSend, Remote, RemoteError

_FITS = "/v1/fits"
_NAME_CHARACTERS = 8

#: By a fit's last status. 2 is what a wrong use of the command line ends with.
_EXIT_CODES = {"succeeded": 0, "failed": 1, "deleted": 1, "cancelled": 3}
_NOT_DONE = 1
_INTERRUPTED = 130

_GOES_ON = """The fit goes on. `plumbline watch {fit}` shows it again, `plumbline cancel {fit}` ends it."""


def fit(address: str, source: str) -> int:
    """Send the request in a file, or `-` for what comes in, watch the fit and print its answer."""

    def send() -> int:
        remote = Remote(address)
        body = sys.stdin.buffer.read() if source == "-" else _read(source)
        accepted = remote.ask("POST", _FITS, body)
        return _print_answer(remote, accepted) if accepted["finished_at"] else _watch(remote, accepted["links"]["self"])

    return _explaining(send)


def watch(address: str, fit_name: str) -> int:
    """Show a fit's progress until it is over, and print its answer. It may be named by its id, its path or its URL."""
    return _explaining(lambda: _watch(*_located(address, fit_name)))


def cancel(address: str, fit_name: str) -> int:
    """Have a fit end, and say how it stands then."""

    def ask() -> int:
        remote, path = _located(address, fit_name)
        status = remote.ask("POST", f"{path}/cancel")["status"]
        print(status if status == "cancelled" else f"{status}: it is told to stop, and does so in a moment")
        return 0

    return _explaining(ask)


def _explaining(work: Callable[[], int]) -> int:
    try:
        return work()
    except RemoteError as error:
        print(f"plumbline: {error}", file=sys.stderr, flush=True)
        return _NOT_DONE


def _read(source: str) -> bytes:
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise NothingToSend(f"cannot read {source}: {error.strerror}") from error


def _located(address: str, fit_name: str) -> tuple[Remote, str]:
    """The service and the path of a fit."""
    url = urlsplit(fit_name)
    if url.scheme in ("http", "https"):
        return Remote(f"{url.scheme}://{url.netloc}"), url.path
    return Remote(address), fit_name if fit_name.startswith("/") else f"{_FITS}/{quote(fit_name, safe='')}"


def _watch(remote: Remote, path: str) -> int:
    fit_id = path.rpartition("/")[2]
    try:
        said = show(follow(remote, path), Console(stderr=True), f"fit {fit_id[:_NAME_CHARACTERS]}")
    except KeyboardInterrupt:
        print(_GOES_ON.format(fit=fit_id), file=sys.stderr, flush=True)
        return _INTERRUPTED
    if said["status"] == "deleted":
        print("plumbline: the fit was deleted", file=sys.stderr, flush=True)
        return _EXIT_CODES["deleted"]
    return _print_answer(remote, remote.ask("GET", path))


def _print_answer(remote: Remote, fit: dict[str, Any]) -> int:
    console = Console()
    print_answer(fit, console)
    console.print(f"{remote.address}{fit['links']['self']}", highlight=False, soft_wrap=True, style="dim")
    return _EXIT_CODES[fit["status"]]
