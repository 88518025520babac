"""JSON that reads back to the same doubles, with one array of numbers a line."""

import json
import math
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write a file that a person can read and a diff can show."""
    path.write_text(_text(value, 0) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON's: NaN as null, infinities as the strings "Infinity" and "-Infinity"."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0.0 else "-Infinity")
    return value


def _text(value: Any, depth: int) -> str:
    inner, outer = " " * (depth + 1), " " * depth
    if isinstance(value, dict) and value:
        items = (f"{inner}{json.dumps(key)}: {_text(item, depth + 1)}" for key, item in value.items())
        return "{\n" + ",\n".join(items) + f"\n{outer}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(inner + _text(item, depth + 1) for item in value) + f"\n{outer}]"
    return json.dumps(value, allow_nan=False)
