"""What is said of ends, held as a text; and how numbers and names are said."""

import re

import pytest

from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.registry import CAUSES
from tests.fitting.diagnosis.messages import TEXTS, diagnosed_ends, text

#: A number in a sentence: 0.5, 1e-7, 12 345; but not the 1 of a column's name, x1.
NUMBER = re.compile(r"(?<![\w.])\d{1,3}(?: \d{3})+(?!\d)|(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?")


def _said() -> list[Cause]:
    return [cause for end in diagnosed_ends().values() for cause in end.diagnosis.causes]


def test_what_is_said_is_what_was_read() -> None:
    """`python -m tests.fitting.diagnosis.messages` writes it anew."""
    assert text() == TEXTS.read_text(encoding="utf-8")


def test_what_was_read_holds_every_cause() -> None:
    # What could not be computed, and double precision's floor, have tests of their own.
    assert {cause.code for cause in _said()} == set(CAUSES) - {"unexplained", "float64_floor"}


def test_messages_are_two_sentences_with_four_numbers_at_most() -> None:
    for cause in _said():
        # Neither a shape nor the "x1, x2 and 8 others" of names is a number that anything was worked out to.
        message = re.sub(r"\(n, 1\)|and [\d ]+ others", "", cause.message)
        assert len(NUMBER.findall(message)) <= 4, cause.message
        assert len(re.findall(r"\.(?: |$)", cause.message)) in (1, 2), cause.message
        assert cause.message.endswith(".")
        assert len(cause.message) <= 320, cause.message
        assert not re.search(r"\b(?:nan|inf|None|unknown)\b", cause.message), cause.message


def test_messages_of_columns_name_them() -> None:
    for cause in _said():
        if cause.code in ("features_unscaled", "collinear_features"):
            assert words.name(cause.terms[0]) in cause.message


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"), (0.8975134, "0.898"), (1.5e-7, "1.5e-7"), (39863.5, "39 900"), (402.985, "403"), (1e300, "1e300"),
        (-0.00244, "-0.00244"), (999.96, "1 000"), (1e6, "1e6"), (None, "an unknown number"),
    ],
)  # fmt: skip
def test_numbers_are_rounded(value: float | None, said: str) -> None:
    assert words.number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0 steps"), (1.0, "1 step"), (10_001.0, "10 001 steps"), (1376831.8, "1.38 million steps"),
        (2.5e9, "2.5 billion steps"), (4e15, "4e15 steps"), (3.87, "3.87 steps"),
    ],
)  # fmt: skip
def test_counts_are_said(value: float, said: str) -> None:
    assert words.steps(value) == said


def test_names_are_listed() -> None:
    assert words.listed(["x1"]) == "x1"
    assert words.listed(["x1", "x2"]) == "x1 and x2"
    assert words.listed(["x1", "x2", "x3"]) == "x1, x2 and x3"
    assert words.listed([f"x{j}" for j in range(1, 301)]) == "x1, x2 and 298 others"


def test_long_names_are_cut_in_the_middle() -> None:
    long = words.name("a" * 120 + "b" * 80)
    assert len(long) == 40
    assert long.startswith("aaa")
    assert long.endswith("bbb")
    assert words.name("short") == "short"
    assert len(words.listed(["c" * 200, "d" * 200])) < 90


def test_directions_with_many_terms_are_listed() -> None:
    assert words.direction("x1 - x2", ("x1", "x2")) == "x1 - x2"
    assert words.direction("x1 + .. (9 terms)", [f"x{j}" for j in range(1, 10)]) == "a sum of x1, x2 and 7 others"


def test_the_floor_of_a_precision_is_said() -> None:
    numbers = {"floor": 3e-6, "gap_in_exact_arithmetic": 1e-9}
    said = words.precision_floor(numbers, "float32", agreement=1e-7, gap=2.5e-6)
    assert said.startswith("1e-7 cannot be reached in float32 here: the floor is 3e-6.")
    said = words.precision_floor(numbers, "float64", agreement=1e-5, gap=2e-5)
    assert said.startswith("The gap cannot be brought below 3e-6 in float64 here.")
