"""Merge patches, against the RFC's own examples."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fitting.diagnosis.patches import difference, leaves, merged

#: RFC 7396, appendix A: original, patch, result.
APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]

_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=2) | st.lists(st.integers(), max_size=2)
_NAMES = st.sampled_from("abc")
_OBJECTS = st.dictionaries(
    _NAMES, st.recursive(_VALUES, lambda inner: st.dictionaries(_NAMES, inner, max_size=3)), max_size=3
)


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX_A)
def test_the_examples_of_the_rfc(original: Any, patch: Any, result: Any) -> None:
    assert merged(original, patch) == result


@given(_OBJECTS, _OBJECTS)
def test_a_difference_merged_in_makes_the_one_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    """But for members that are to be null, which a patch takes out."""
    made = merged(before, difference(before, after))
    assert _without_null(made) == _without_null(after)
    assert set(made) <= set(after)


@given(_OBJECTS)
def test_nothing_is_different_from_itself(value: dict[str, Any]) -> None:
    assert difference(value, value) == {}


def test_leaves_are_where_values_change() -> None:
    patch = {"a": {"b": None, "c": {"d": 1}}, "e": [2]}
    assert leaves(patch) == {("a", "b"), ("a", "c", "d"), ("e",)}


def _without_null(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_null(member) for name, member in value.items() if member is not None}
