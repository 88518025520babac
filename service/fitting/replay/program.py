"""The parts that all programs have: what they are, the data, and the coefficients in the units of the data."""

import inspect
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from service import __version__
from service.fitting.replay import literals
from service.fitting.replay.reading import read_columns
from service.fitting.replay.replayed import Replayed
from service.fitting.scaling import Scale, ScalingKind

#: With more of them the data do not stand in the program.
MOST_INLINE_NUMBERS = 100_000

_SCALED = {
    "standard": "less its mean, over its standard deviation",
    "minmax": "less its least value, over its range",
    "maxabs": "over its largest size",
    "robust": "less its median, over the distance of its quartiles",
}
#: What is in the text of our own functions for our own tools.
_FOR_US = (": Any", " -> Update", " -> Any", " -> dict[str, Any]", "  # noqa: ARG001", "  # noqa: PTH123")


def assemble(paragraphs: Sequence[str]) -> str:
    """The text of a program, in the usual distances."""
    text = ""
    for before, paragraph in zip(("", *paragraphs), paragraphs, strict=False):
        wide = any("\ndef " in f"\n{part}" for part in (before, paragraph))
        text += ("\n\n\n" if wide else "\n\n") * bool(text) + paragraph
    return text + "\n"


def source(function: Callable[..., Any]) -> str:
    """The text of a function of ours."""
    text = inspect.getsource(function)
    for unwanted in _FOR_US:
        text = text.replace(unwanted, "")
    return text.rstrip()


def is_inline(replayed: Replayed) -> bool:
    """Whether the data stand in the program."""
    return len(replayed.columns) * replayed.dataset.rows <= MOST_INLINE_NUMBERS


def header(replayed: Replayed, summary: str, particulars: Sequence[str], package: str) -> str:
    """The program's first lines. `particulars` are paragraphs on how it is done; `package` is what it needs."""
    lines = [
        f"Fit {replayed.fit} of Plumbline, once more: {summary}",
        "",
        "It prints a line of JSON for each coefficient, in the units of the data.",
        *_run(replayed),
        *(line for paragraph in particulars for line in ("", *_folded(paragraph))),
        "",
        f"Written by Plumbline {__version__} for {package} {version(package.lower())}.",
    ]
    return '"""' + "\n".join(lines) + '\n"""'


def _run(replayed: Replayed) -> list[str]:
    if is_inline(replayed):
        return ["Run it with Python; the data are in it."]
    return [
        "Run it with Python and the path of its data: a CSV file with a line of names, or an NPZ archive with an",
        "array for each column. The data are those that the fit was asked for with; Plumbline knows them as",
        f"{replayed.dataset.digest}.",
    ]


def _folded(paragraph: str) -> list[str]:
    words, lines = paragraph.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= 110:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def data(replayed: Replayed) -> list[str]:
    """`FEATURES`, `TARGETS`, `WEIGHTS`, `TERMS`, `ROWS` and `COLUMNS`."""
    model = replayed.task.model
    named = [
        f"FEATURES = {literals.names(model.features)}",
        f"TARGETS = {literals.names(model.targets)}",
        *([] if model.weights is None else [f"WEIGHTS = {literals.name(model.weights)}"]),
        f"TERMS = {literals.names(model.terms)}",
        f"ROWS = {replayed.dataset.rows}",
    ]
    return ["\n".join(named), *(_inline(replayed) if is_inline(replayed) else _from_file(replayed))]


def _inline(replayed: Replayed) -> list[str]:
    columns = zip(replayed.columns, replayed.dataset.columns(replayed.columns).T, strict=True)
    lines = [f"    {literals.name(name)}: {literals.numbers(values, '    ')}," for name, values in columns]
    return ["\n".join(["COLUMNS = {", *lines, "}"])]


def _from_file(replayed: Replayed) -> list[str]:
    wanted = "FEATURES + TARGETS" + ("" if replayed.task.model.weights is None else " + [WEIGHTS]")
    usage = 'if len(sys.argv) != 2:\n    sys.exit(f"usage: {sys.argv[0]} DATA.csv (or DATA.npz)")'
    return [source(read_columns), f"{usage}\nCOLUMNS = read_columns(sys.argv[1], {wanted}, ROWS)"]


def imports(replayed: Replayed, standard: Sequence[str] = (), packages: Sequence[str] = ()) -> str:
    """What is imported: modules of the standard library beside `json`, and packages beside NumPy."""
    reading = () if is_inline(replayed) else ("import csv", "import sys")
    first = sorted(["import json", *reading, *standard], key=lambda line: (line.startswith("from"), line))
    second = sorted(["import numpy as np", *packages], key=lambda line: (line.startswith("from"), line))
    return "\n".join([*first, "", *second])


def arrays(replayed: Replayed) -> str:
    """`x` (n, p) and `y` (n, q), in the units of the data, and `weights` (n, 1)."""
    model = replayed.task.model
    columns = "np.column_stack([COLUMNS[name] for name in FEATURES])"
    lines = [
        f"x = {columns if model.features else 'np.empty((ROWS, 0))'}",
        "y = np.column_stack([COLUMNS[name] for name in TARGETS])",
    ]
    if model.weights is not None:
        lines.append("weights = np.array(COLUMNS[WEIGHTS])[:, None]")
    if model.degree > 1:
        lines.insert(1, f"x = np.hstack([x**power for power in range(1, {model.degree + 1})])")
    return "\n".join(lines)


def scaling(replayed: Replayed) -> list[str]:
    """`x` and `y` in the units that steps are taken in, where those are not the data's: `x_centre`, `x_spread`, .."""
    units, asked = replayed.problem.units, replayed.task.scaling
    sides = (("x", "features", asked.features, units.features), ("y", "targets", asked.targets, units.targets))
    return [_scale(axis, what, kind, scale) for axis, what, kind, scale in sides if kind != "none"]


def _scale(axis: str, what: str, kind: ScalingKind, scale: Scale) -> str:
    lines = [
        f"# Steps are taken in other units: of the {what}, each column {_SCALED[kind]}.",
        f"{axis}_centre = np.array({literals.numbers(scale.centre)})",
        f"{axis}_spread = np.array({literals.numbers(scale.spread)})",
        f"{axis} = ({axis} - {axis}_centre) / {axis}_spread",
    ]
    return "\n".join(lines)


def answer(replayed: Replayed) -> list[str]:
    """Prints `coefficients` (p, q) and `intercept` (q,), after they are brought into the units of the data."""
    intercept, asked = replayed.task.model.intercept, replayed.task.scaling
    lines = []
    if asked.targets != "none":
        lines.append("coefficients = coefficients * y_spread")
        if intercept:
            lines.append("intercept = intercept * y_spread + y_centre")
    if asked.features != "none":
        lines.append("coefficients = coefficients / x_spread[:, None]")
        if intercept:
            lines.append("intercept = intercept - x_centre @ coefficients")
    back = ["\n".join(["# Back in the units of the data.", *lines])] if lines else []
    rows = "np.vstack([intercept, coefficients])" if intercept else "coefficients"
    return [*back, _PRINT.format(rows=rows)]


_PRINT = """for target, column in zip(TARGETS, {rows}.T):
    for term, value in zip(TERMS, column):
        print(json.dumps({{"target": target, "term": term, "estimate": float(value)}}))"""
