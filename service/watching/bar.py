"""A fit's progress on a terminal: a bar that moves; where nobody looks, a few lines."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.watching.events import Event

Json = dict[str, Any]

_REFRESHES_A_SECOND = 8
#: Where there is no terminal, a line is written each time so much more of all steps is done.
_LINE_SHARE = 0.25
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "deleted": "yellow"}
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def show(events: Iterable[Event], console: Console, title: str, *, stays: bool = True) -> Json:
    """Show the events up to the last one, and return what that says.

    Parameters
    ----------
    stays
        Whether a bar is still to be seen when the fit is over.

    Raises
    ------
    EOFError
        There was no last one.
    """
    shown: _Shown = _Bar(title) if console.is_terminal else _Lines(console, title)
    with shown.on(console, stays=stays):
        for event in events:
            if event.name == "status":
                shown.status(event.data)
            elif event.name == "progress":
                shown.progress(event.data)
            if event.is_last:
                return event.data
    raise EOFError("the events ended before the fit did")


class _Shown(Protocol):
    def on(self, console: Console, *, stays: bool) -> AbstractContextManager[object]: ...
    def status(self, said: Json) -> None: ...
    def progress(self, said: Json) -> None: ...


class _Bar:
    """Two lines that change in place: the bar, and how far that is."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar = ProgressBar(total=None, pulse=True)
        self._right = Text("")
        self._below = ""

    def on(self, console: Console, *, stays: bool) -> AbstractContextManager[object]:
        return Live(self, console=console, refresh_per_second=_REFRESHES_A_SECOND, transient=not stays)

    def __rich__(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_row(self._title, self._bar, self._right)
        return Group(grid, Text(self._below, style="dim", no_wrap=True, overflow="ellipsis"))

    def status(self, said: Json) -> None:
        if said["restarted"]:
            self._bar = ProgressBar(total=None, pulse=True)
            self._below = ""
        self._right = Text(said["status"], style=_STYLES.get(said["status"], ""))
        if said["status"] in _STYLES:
            # One that never told how far it had got would go to and fro for ever.
            total = self._bar.total or 1.0
            self._bar = ProgressBar(total, total if said["status"] == "succeeded" else self._bar.completed)

    def progress(self, said: Json) -> None:
        self._bar.pulse = False
        self._bar.update(said["steps_done"], said["steps_total"])
        self._right = Text(" ".join([_percent(said), *_left(said)]))
        self._below = ", ".join([*_steps(said), *_losses(said)])


class _Lines:
    """A line at the start, a few on the way, and one at the end."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._status = ""
        self._share = 0.0

    def on(self, console: Console, *, stays: bool) -> AbstractContextManager[object]:  # noqa: ARG002
        return nullcontext()

    def status(self, said: Json) -> None:
        if said["restarted"]:
            self._share = 0.0
            self._say(f"started anew, attempt {said['attempt']}")
        elif said["status"] != self._status:
            self._say(said["status"])
        self._status = said["status"]

    def progress(self, said: Json) -> None:
        share = said["steps_done"] / max(said["steps_total"], 1)
        if share >= self._share + _LINE_SHARE or self._share == 0.0:
            self._share = max(share, 1e-12)
            self._say(", ".join([_percent(said), *_steps(said), *_left(said), *_losses(said)]))

    def _say(self, words: str) -> None:
        self._console.print(f"{self._title}: {words}", highlight=False, soft_wrap=True, markup=False)


def _percent(said: Json) -> str:
    return f"{100 * said['steps_done'] // max(said['steps_total'], 1)} %"


def _left(said: Json) -> list[str]:
    left = said["seconds_left"]
    return [] if left is None else [f"{_duration(left)} left"]


def _steps(said: Json) -> list[str]:
    rate = said["steps_per_second"]
    done = f"{_count(said['steps_done'])} of {_count(said['steps_total'])} steps"
    return [done] if rate is None else [done, f"{_count(rate)} a second"]


def _losses(said: Json) -> list[str]:
    loss, excess = said["loss"], said["excess"]
    words = [] if loss is None else [f"loss {loss:.6g}"]
    return words if excess is None else [*words, f"{excess:.2g} above the reference"]


def _count(number: float) -> str:
    """Three digits or so: 999, 12.3k, 4.57M."""
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g}{name}" if number < 1000 * unit else f"{number / unit:,.0f}{name}"
    return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.2g}"


def _duration(seconds: float) -> str:
    """As 0:00:07, or in days and years where nobody will wait for it."""
    days = seconds / 86_400
    if days >= 730:
        return f"{days / 365.25:,.0f} years"
    return f"{days:.0f} days" if days >= 2 else str(timedelta(seconds=round(seconds)))
