"""Which columns explain which: the part of a request that names columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from service.fitting.errors import InvalidProblem

INTERCEPT = "(intercept)"


@dataclass(frozen=True)
class Model:
    """targets = intercept + features: one column of coefficients a target."""

    features: tuple[str, ...]
    targets: tuple[str, ...]
    intercept: bool = True

    @property
    def terms(self) -> tuple[str, ...]:
        """The rows of the parameter matrix, in order."""
        return ((INTERCEPT,) if self.intercept else ()) + self.features


def resolve_model(
    names: Sequence[str], features: Sequence[str] | None, targets: Sequence[str] | None, intercept: bool
) -> Model:
    """The model with its columns filled in and checked against the dataset's names.

    Missing targets are ``y``, or ``y1, y2, ..`` where such columns exist; missing features are all columns that are
    not targets.

    Raises
    ------
    InvalidProblem
        A column that is not there, named twice, or feature and target at once; no target; nothing to fit.
    """
    chosen_targets = tuple(targets) if targets is not None else _usual_targets(names)
    _check_columns(names, chosen_targets, "targets")
    if not chosen_targets:
        raise InvalidProblem(("model", "targets"), "There is no target.", _columns(names))
    chosen_features = tuple(features) if features is not None else _others(names, chosen_targets)
    _check_columns(names, chosen_features, "features")
    for place, name in enumerate(chosen_features):
        if name in chosen_targets:
            raise InvalidProblem(
                ("model", "features", place),
                f"{name!r} is a target too.",
                _columns(_others(names, chosen_targets)),
            )
    if not chosen_features and not intercept:
        raise InvalidProblem(
            ("model", "features"),
            "Neither a feature nor an intercept: nothing to fit.",
            "a feature or an intercept",
        )
    if INTERCEPT in chosen_features:
        raise InvalidProblem(
            ("model", "features"),
            f"{INTERCEPT!r} is the intercept's own name.",
            "another name for the column",
        )
    return Model(chosen_features, chosen_targets, intercept)


def _usual_targets(names: Sequence[str]) -> tuple[str, ...]:
    if "y" in names:
        return ("y",)
    numbered = []
    for k in count(1):
        if f"y{k}" not in names:
            break
        numbered.append(f"y{k}")
    if not numbered:
        raise InvalidProblem(
            ("model", "targets"), "No targets are named, and there is no column 'y' or 'y1'.", _columns(names)
        )
    return tuple(numbered)


def _others(names: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in taken)


def _check_columns(names: Sequence[str], chosen: Sequence[str], field: str) -> None:
    for place, name in enumerate(chosen):
        if name not in names:
            raise InvalidProblem(("model", field, place), f"There is no column {name!r}.", _columns(names))
        if name in chosen[:place]:
            raise InvalidProblem(("model", field, place), f"{name!r} is named twice.", "each column once")


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"columns of the dataset: {shown}{', ..' if len(names) > 20 else ''}"
