"""What is seen of a fit that runs: on a terminal, and where there is none."""

import io
from typing import Any

import pytest
from rich.console import Console

from service.watching.bar import show
from service.watching.events import Event


def _status(status: str, *, restarted: bool = False) -> Event:
    return Event("status", {"status": status, "attempt": 2, "restarted": restarted}, "")


def _progress(steps: int, **others: Any) -> Event:
    said = {"steps_done": steps, "steps_total": 4_000_000, "loss": 0.123456789, "excess": 1.2e-5}
    return Event("progress", {**said, "steps_per_second": 250_000.0, "seconds_left": 75.4, **others}, "")


def _shown(*events: Event, is_terminal: bool, stays: bool = True) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=80, color_system=None, _environ={})
    assert show([*events, _status("running")], console, "fit 1234", stays=stays) == events[-1].data
    return file.getvalue().split("\n")


def test_a_bar_says_how_far_it_is() -> None:
    lines = _shown(_status("running"), _progress(1_000_000), _status("cancelled"), is_terminal=True)
    below = "1M of 4M steps, 250k a second, loss 0.123457, 1.2e-05 above the reference"
    assert any(below in line for line in lines)
    assert any(
        line.rstrip().endswith("cancelled") and line.count("\N{BOX DRAWINGS HEAVY HORIZONTAL}") > 10 for line in lines
    )
    assert all(len(line) <= 200 for line in lines)


def test_a_bar_that_is_not_to_stay_goes() -> None:
    told = (_status("running"), _progress(1_000_000), _status("succeeded"))
    stays, goes = (_shown(*told, is_terminal=True, stays=stays) for stays in (True, False))
    # It goes up and wipes its lines out.
    assert "\x1b[2K" in goes[-1]
    assert "\x1b[2K" not in stays[-1]


def test_without_a_terminal_there_are_few_lines() -> None:
    steps = (_progress(40_000 * k) for k in range(1, 101))
    told = _shown(_status("queued"), _status("running"), *steps, _status("succeeded"), is_terminal=False)
    assert told == [
        "fit 1234: queued",
        "fit 1234: running",
        "fit 1234: 1 %, 40k of 4M steps, 250k a second, 0:01:15 left, loss 0.123457, 1.2e-05 above the reference",
        "fit 1234: 26 %, 1.04M of 4M steps, 250k a second, 0:01:15 left, loss 0.123457, 1.2e-05 above the reference",
        "fit 1234: 51 %, 2.04M of 4M steps, 250k a second, 0:01:15 left, loss 0.123457, 1.2e-05 above the reference",
        "fit 1234: 76 %, 3.04M of 4M steps, 250k a second, 0:01:15 left, loss 0.123457, 1.2e-05 above the reference",
        "fit 1234: succeeded",
        "",
    ]


def test_a_new_start_is_told() -> None:
    told = _shown(
        _status("running"),
        _progress(3_000_000),
        _status("running", restarted=True),
        _progress(1_000, steps_per_second=None, seconds_left=None, loss=None, excess=None),
        _status("failed"),
        is_terminal=False,
    )
    assert told[2:] == ["fit 1234: started anew, attempt 2", "fit 1234: 0 %, 1k of 4M steps", "fit 1234: failed", ""]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0:00:00"), (3725.0, "1:02:05"), (86_400 * 3.2, "3 days"), (86_400 * 365.25 * 12_345, "12,345 years")],
)
def test_time_left_in_any_magnitude(seconds: float, words: str) -> None:
    lines = _shown(_progress(1, seconds_left=seconds), _status("cancelled"), is_terminal=False)
    assert f", {words} left," in lines[0]


@pytest.mark.parametrize(
    ("steps", "words"), [(0, "0"), (999, "999"), (1_234, "1.23k"), (10**9, "1G"), (10**12 + 10**9, "1,001G")]
)
def test_counts_in_any_magnitude(steps: int, words: str) -> None:
    lines = _shown(_progress(steps, steps_total=10**18), _status("cancelled"), is_terminal=False)
    assert f", {words} of 1,000,000,000G steps," in lines[0]


def test_events_that_end_before_the_fit_are_an_error() -> None:
    with pytest.raises(EOFError):
        show([_status("running")], Console(file=io.StringIO()), "fit")
