"""The file of NIST's linear regression sets: complete, and true in exact arithmetic."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fitting.data.recording.nist_strd import SETS, agreement

DATA = Path(__file__).parent.parent / "data"
NIST: dict[str, Any] = json.loads((DATA / "nist_strd.json").read_text(encoding="utf-8"))
SAMPLE: dict[str, Any] = json.loads((DATA / "nist_strd_sample.json").read_text(encoding="utf-8"))


def test_all_eleven_sets_are_there() -> None:
    assert list(NIST) == SETS


@pytest.mark.parametrize("name", SETS)
def test_certified_values_are_exact_to_their_last_digits(name: str) -> None:
    assert agreement(NIST[name]) > 14.0


@pytest.mark.parametrize("name", SAMPLE)
def test_the_sample_says_the_same(name: str) -> None:
    text = NIST[name]
    for key, value in SAMPLE[name].items():
        assert _numbers(text[key]) == _numbers(value), key


def _numbers(value: Any) -> Any:
    """The text as numbers: one file has "760." where the other has "760"."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) else value
