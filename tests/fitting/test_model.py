from typing import Any

import pytest

from service.fitting.errors import InvalidProblem
from service.fitting.model import HIGHEST_DEGREE, MOST_COEFFICIENTS, MOST_TERMS, resolve_model

NAMES = ("a", "b", "y")


def test_targets_default_to_y_and_features_to_the_rest() -> None:
    model = resolve_model(NAMES, None, None, intercept=True)
    assert model.features == ("a", "b")
    assert model.targets == ("y",)
    assert model.terms == ("(intercept)", "a", "b")


def test_numbered_targets_are_found_up_to_the_first_gap() -> None:
    model = resolve_model(("x", "y1", "y2", "y4"), None, None, intercept=False)
    assert model.targets == ("y1", "y2")
    assert model.terms == ("x", "y4")


def test_an_intercept_alone_is_a_model() -> None:
    assert resolve_model(NAMES, [], ["y"], intercept=True).terms == ("(intercept)",)


@pytest.mark.parametrize(
    ("names", "features", "targets", "intercept", "place"),
    [
        (NAMES, ["c"], None, True, ("model", "features", 0)),
        (NAMES, ["a", "a"], None, True, ("model", "features", 1)),
        (NAMES, ["a", "y"], None, True, ("model", "features", 1)),
        (NAMES, None, ["a", "q"], True, ("model", "targets", 1)),
        (NAMES, None, [], True, ("model", "targets")),
        (("a", "b"), None, None, True, ("model", "targets")),
        (NAMES, [], None, False, ("model", "features")),
        (("(intercept)", "y"), None, None, True, ("model", "features")),
    ],
)
def test_columns_that_do_not_go_together_are_refused_by_place(
    names: tuple[str, ...],
    features: list[str] | None,
    targets: list[str] | None,
    intercept: bool,
    place: tuple[str | int, ...],
) -> None:
    with pytest.raises(InvalidProblem) as refused:
        resolve_model(names, features, targets, intercept)
    assert refused.value.place == place


def test_weights_and_clusters_are_no_features_unless_named() -> None:
    names = ("a", "w", "g", "y")
    model = resolve_model(names, None, None, intercept=True, weights="w", clusters="g")
    assert (model.features, model.weights) == (("a",), "w")
    named = resolve_model(names, ["a", "g"], None, intercept=True, weights="w", clusters="g")
    assert named.features == ("a", "g")


def test_powers_are_ordered_by_power() -> None:
    model = resolve_model(NAMES, None, None, intercept=True, degree=3)
    assert model.terms == ("(intercept)", "a", "b", "a^2", "b^2", "a^3", "b^3")


@pytest.mark.parametrize(
    ("names", "options", "place"),
    [
        (NAMES, {"weights": "w"}, ("model", "weights")),
        (NAMES, {"weights": "y"}, ("model", "weights")),
        (NAMES, {"features": ["a", "b"], "weights": "b"}, ("model", "weights")),
        (NAMES, {"clusters": "g"}, ("inference", "clusters")),
        (NAMES, {"clusters": "y"}, ("inference", "clusters")),
        (NAMES, {"degree": 0}, ("model", "degree")),
        (NAMES, {"degree": -1}, ("model", "degree")),
        (NAMES, {"degree": HIGHEST_DEGREE + 1}, ("model", "degree")),
        (("x", "x^2", "y"), {"degree": 2}, ("model", "degree")),
        (("x", "x^2", "y"), {"degree": 4}, ("model", "degree")),
        ((*(f"x{j}" for j in range(MOST_TERMS)), "y"), {}, ("model", "features")),
        ((*(f"x{j}" for j in range(MOST_TERMS // 2)), "y"), {"degree": 2}, ("model", "degree")),
        (("x", *(f"y{k + 1}" for k in range(MOST_COEFFICIENTS // 2 + 1))), {}, ("model", "targets")),
    ],
)
def test_options_that_do_not_go_with_the_columns_are_refused_by_place(
    names: tuple[str, ...], options: dict[str, Any], place: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidProblem) as refused:
        resolve_model(**{"names": names, "features": None, "targets": None, "intercept": True} | options)
    assert refused.value.place == place
    assert refused.value.allowed


def test_the_largest_models_pass() -> None:
    wide = (*(f"x{j}" for j in range(MOST_TERMS - 1)), "y")
    assert len(resolve_model(wide, None, None, intercept=True).terms) == MOST_TERMS
    tall = resolve_model(("x", "y"), None, None, intercept=True, degree=HIGHEST_DEGREE)
    assert tall.terms[-1] == f"x^{HIGHEST_DEGREE}"
    assert resolve_model(("x", "x^2", "y"), None, None, intercept=True).terms == ("(intercept)", "x", "x^2")
