import pytest

from service.fitting.errors import InvalidProblem
from service.fitting.model import resolve_model

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
