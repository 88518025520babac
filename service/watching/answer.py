"""A finished fit in words and a table, for a person at a terminal."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

Json = dict[str, Any]

_COLUMNS = ("estimate", "reference", "difference", "matching_digits")
_TITLES = ("estimate", "reference", "difference", "digits")
_FORMATS = ("{:.10g}", "{:.10g}", "{:.2g}", "{:.1f}")


def print_answer(fit: Json, console: Console) -> None:
    """Print how the fit ended: its coefficients beside the reference's, and why they differ; or why it failed."""
    result, error = fit["result"], fit["error"]
    if error is not None:
        _say(console, error["message"])
    if result is None:
        return
    _say(console, result["outcome"]["message"])
    console.print(_table(result["coefficients"]))
    loss = result["loss"]
    _say(console, f"Loss {_written(loss['final'])}, {_written(loss['excess'], '{:.2g}')} above the reference's.")
    for cause in result["causes"]:
        _say(console, f"- {cause['message']}")
    for remedy in result["remedies"]:
        _say(console, f"- Remedy {remedy['number']}: {remedy['message']}")


def _say(console: Console, words: str) -> None:
    console.print(words, highlight=False, markup=False)


def _table(coefficients: list[Json]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    has_targets = len({row["target"] for row in coefficients}) > 1
    for title in (*(["target"] if has_targets else []), "term"):
        table.add_column(title, overflow="fold")
    for title in _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    for row in coefficients:
        numbers = [_written(row[name], form) for name, form in zip(_COLUMNS, _FORMATS, strict=True)]
        table.add_row(*([row["target"]] if has_targets else []), row["term"], *numbers)
    return table


def _written(number: float | None, form: str = "{:.10g}") -> str:
    return "-" if number is None else form.format(number)
