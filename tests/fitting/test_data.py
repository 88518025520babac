import pickle

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem


def test_columns_keep_their_order_and_values() -> None:
    dataset = Dataset.from_columns({"b": [1, 2], "a": [0.5, -3.0]})
    assert dataset.names == ("b", "a")
    np.testing.assert_array_equal(dataset.columns(["a", "b"]), [[0.5, 1.0], [-3.0, 2.0]])


def test_columns_side_by_side_are_not_copied() -> None:
    dataset = Dataset(("a", "b", "c"), np.arange(12.0).reshape(4, 3))
    for names in (["a", "b", "c"], ["b", "c"], ["c"]):
        assert np.shares_memory(dataset.columns(names), dataset.values)
        np.testing.assert_array_equal(dataset.columns(names)[0], [float("abc".index(name)) for name in names])
    assert not np.shares_memory(dataset.columns(["a", "c"]), dataset.values)
    np.testing.assert_array_equal(dataset.columns(["c", "a"])[1], [5.0, 3.0])
    assert dataset.columns([]).shape == (4, 0)
    for names in (["a", "b"], ["c", "a"]):
        with pytest.raises(ValueError, match="read-only"):
            dataset.columns(names)[0, 0] = 5.0


def test_the_digest_knows_content_and_nothing_else() -> None:
    one = Dataset.from_columns({"x": [1, 2], "y": [3, 4]})
    same = Dataset(("x", "y"), np.array([[1.0, 3.0], [2.0, 4.0]]))
    assert one.digest == same.digest
    assert one.digest != Dataset.from_columns({"x": [1, 2], "z": [3, 4]}).digest
    assert one.digest != Dataset.from_columns({"x": [1, 2], "y": [3, 5]}).digest
    assert Dataset.from_columns({"x": [1, 2, 3, 4]}).digest != Dataset.from_columns({"x": [1, 2], "y": [3, 4]}).digest


def test_values_cannot_be_changed() -> None:
    dataset = Dataset.from_columns({"x": [1, 2]})
    with pytest.raises(ValueError, match="read-only"):
        dataset.values[0, 0] = 5.0


def test_bytes_round_trip() -> None:
    dataset = Dataset.from_columns({"x": [1e-300, -0.0, 3], "y": [4, 5, 1e300]})
    again = Dataset.from_bytes(dataset.names, dataset.rows, dataset.to_bytes(), dataset.digest)
    np.testing.assert_array_equal(again.values, dataset.values)
    assert again.digest == Dataset(again.names, again.values).digest == dataset.digest


def test_pickling_keeps_the_columns() -> None:
    dataset = Dataset.from_columns({"x": [1, 2], "y": [3, 4]})
    assert pickle.loads(pickle.dumps(dataset)).digest == dataset.digest


def test_one_dimensional_targets_are_one_column() -> None:
    flat = Dataset.from_arrays(np.arange(4.0), np.arange(4.0))
    tall = Dataset.from_arrays(np.arange(4.0)[:, None], np.arange(4.0)[:, None])
    assert flat.names == tall.names == ("x1", "y")
    assert flat.digest == tall.digest


def test_several_targets_are_numbered() -> None:
    assert Dataset.from_arrays(np.ones((3, 2)), np.ones((3, 2))).names == ("x1", "x2", "y1", "y2")


@pytest.mark.parametrize(
    ("columns", "place"),
    [
        ({}, ("data", "columns")),
        ({"x": []}, ("data",)),
        ({"x": [1, 2], "y": [1]}, ("data", "columns", "y")),
        ({"x": [1, float("nan")]}, ("data", "columns", "x", 1)),
        ({"x": [float("inf")]}, ("data", "columns", "x", 0)),
        ({"x": [10**400]}, ("data", "columns", "x")),
        ({"": [1]}, ("data", "columns")),
        ({"a\nb": [1]}, ("data", "columns")),
        ({"a" * 201: [1]}, ("data", "columns")),
    ],
)
def test_what_is_no_dataset_is_refused_by_place(columns: dict[str, list[float]], place: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidProblem) as refused:
        Dataset.from_columns(columns)
    assert refused.value.place == place
    assert refused.value.allowed


def test_x_and_y_of_different_length_are_refused() -> None:
    with pytest.raises(InvalidProblem) as refused:
        Dataset.from_arrays(np.ones((3, 1)), np.ones(2))
    assert refused.value.place == ("data", "y")


def test_a_refusal_survives_pickling() -> None:
    refusal = pickle.loads(pickle.dumps(InvalidProblem(("a", 1), "no", "yes")))
    assert (refusal.place, refusal.message, refusal.allowed) == (("a", 1), "no", "yes")
