"""Pointers and the places they stand for; preferences; known fields."""

from typing import Any

import pytest

from service.api.pointers import known_fields, place_in, to_pointer
from service.api.preferences import preference
from service.api.schemas.request import FitRequest


@pytest.mark.parametrize(
    ("place", "pointer"),
    [
        ((), ""),
        (("data", "columns", "a/b", 3), "/data/columns/a~1b/3"),
        (("~1",), "/~01"),
        (("",), "/"),
        (("data", "n" * 201, 3), "/data"),
    ],
)
def test_pointers_are_written_as_rfc_6901_has_them(place: tuple[str | int, ...], pointer: str) -> None:
    assert to_pointer(place) == pointer


@pytest.mark.parametrize(
    ("body", "location", "place"),
    [
        ({"solver": {"kind": "descent", "epochs": 0}}, ("solver", "descent", "epochs"), ("solver", "epochs")),
        ({"solver": {"epochs": 0}}, ("solver", "descent", "epochs"), ("solver", "epochs")),
        (
            {"solver": {"kind": "descent", "descent": {"epochs": 1}, "epochs": 0}},
            ("solver", "descent", "epochs"),
            ("solver", "epochs"),
        ),
        ({"data": {"x": [[1]]}}, ("data", "\0arrays", "x", "\0rows", 0, 0), ("data", "x", 0, 0)),
        (
            {"data": {"columns": {"columns": [1]}}},
            ("data", "\0columns", "columns", "columns", 0),
            ("data", "columns", "columns", 0),
        ),
        ([], ("data",), ()),
        (None, (), ()),
    ],
)
def test_a_place_is_what_was_sent_not_how_it_was_read(body: Any, location: Any, place: Any) -> None:
    assert place_in(body, location) == place


def test_known_fields_are_those_of_the_very_object() -> None:
    assert known_fields(FitRequest, ()) == tuple(FitRequest.model_fields)
    assert known_fields(FitRequest, ("data", "\0case")) == ("case",)
    assert known_fields(FitRequest, ("solver", "exact")) == ("kind", "penalty")
    assert known_fields(FitRequest, ("solver", "exact", "penalty", "l2")) == ("kind", "strength")
    assert "rho" in known_fields(FitRequest, ("solver", "descent", "optimizer", "rmsprop"))
    assert known_fields(FitRequest, ("record", "every", "\0steps")) == ("steps",)
    assert known_fields(FitRequest, ("no", "such")) == ()


@pytest.mark.parametrize(
    ("headers", "seconds", "applied"),
    [
        ([], 0, None),
        (["wait=5"], 5, "wait=5"),
        (['Wait = "5"; foo=bar, handling=lenient'], 5, "wait=5"),
        (["return=minimal", "wait=2"], 2, "wait=2"),
        (["wait=2, wait=9"], 2, "wait=2"),
        (["wait=999999999999999999999999"], 60, "wait=60"),
        (["wait=9, respond-async"], 0, "respond-async"),
        (["wait=-1"], 0, None),
        (["wait=x"], 0, None),
        (["wait"], 0, None),
        (["wait=٣"], 0, None),
        (["wait=0"], 0, "wait=0"),
    ],
)
def test_preferences(headers: list[str], seconds: float, applied: str | None) -> None:
    found = preference(headers, 60)
    assert (found.seconds, found.applied) == (seconds, applied)
