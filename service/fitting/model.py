"""Which columns explain which: the part of a request that names columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from service.fitting.errors import InvalidProblem

INTERCEPT = "(intercept)"
HIGHEST_DEGREE = 20
#: A factor with more columns, or an answer with more coefficients, would not fit into anybody's memory.
MOST_TERMS = 5_000
MOST_COEFFICIENTS = 100_000


@dataclass(frozen=True)
class Model:
    """targets = intercept + features and their powers: one column of coefficients a target.

    Attributes
    ----------
    degree
        Highest power of each feature; no products of different ones.
    weights
        The column of row weights; None weighs all rows alike.
    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    intercept: bool = True
    degree: int = 1
    weights: str | None = None

    @property
    def powers(self) -> tuple[str, ...]:
        """The design's columns beside the intercept, (features * degree): ``x1, x2, x1^2, x2^2, ..``."""
        higher = (f"{name}^{power}" for power in range(2, self.degree + 1) for name in self.features)
        return (*self.features, *higher)

    @property
    def terms(self) -> tuple[str, ...]:
        """The rows of the parameter matrix, in order."""
        return ((INTERCEPT,) if self.intercept else ()) + self.powers


def resolve_model(
    names: Sequence[str],
    features: Sequence[str] | None,
    targets: Sequence[str] | None,
    intercept: bool,
    degree: int = 1,
    weights: str | None = None,
    clusters: str | None = None,
) -> Model:
    """The model with its columns filled in and checked against the dataset's names.

    Missing targets are ``y``, or ``y1, y2, ..`` where such columns exist; missing features are all columns that are
    neither targets nor `weights` nor `clusters`, the column of `Inference.clusters`.

    Raises
    ------
    InvalidProblem
        A column that is not there, named twice, or two things at once; no target; nothing to fit; a degree out of
        bounds; two terms of one name; more terms or coefficients than can be answered.
    """
    chosen_targets = tuple(targets) if targets is not None else _usual_targets(names)
    _check_columns(names, chosen_targets, "targets")
    if not chosen_targets:
        raise InvalidProblem(("model", "targets"), "There is no target.", _columns(names))
    _check_column(names, weights, chosen_targets, ("model", "weights"))
    _check_column(names, clusters, chosen_targets, ("inference", "clusters"))
    taken = {*chosen_targets, weights, clusters}
    chosen_features = tuple(features) if features is not None else tuple(name for name in names if name not in taken)
    _check_columns(names, chosen_features, "features")
    _check_roles(chosen_features, chosen_targets, weights)
    _check_extent(chosen_features, len(chosen_targets), intercept, degree)
    model = Model(chosen_features, chosen_targets, intercept, degree, weights)
    _check_terms(model)
    return model


def _usual_targets(names: Sequence[str]) -> tuple[str, ...]:
    present = set(names)
    if "y" in present:
        return ("y",)
    numbered = []
    for k in count(1):
        if f"y{k}" not in present:
            break
        numbered.append(f"y{k}")
    if not numbered:
        raise InvalidProblem(
            ("model", "targets"), "No targets are named, and there is no column 'y' or 'y1'.", _columns(names)
        )
    return tuple(numbered)


def _check_columns(names: Sequence[str], chosen: Sequence[str], field: str) -> None:
    present, met = set(names), set[str]()
    for place, name in enumerate(chosen):
        if name not in present:
            raise InvalidProblem(("model", field, place), f"There is no column {name!r}.", _columns(names))
        if name in met:
            raise InvalidProblem(("model", field, place), f"{name!r} is named twice.", "each column once")
        met.add(name)


def _check_column(names: Sequence[str], name: str | None, targets: Sequence[str], place: tuple[str, str]) -> None:
    if name is None:
        return
    if name not in names:
        raise InvalidProblem(place, f"There is no column {name!r}.", _columns(names))
    if name in targets:
        raise InvalidProblem(place, f"{name!r} is a target too.", "a column that is no target")


def _check_roles(features: Sequence[str], targets: Sequence[str], weights: str | None) -> None:
    explained = set(targets)
    for place, name in enumerate(features):
        if name in explained:
            raise InvalidProblem(
                ("model", "features", place), f"{name!r} is a target too.", "a column that is no target"
            )
    if weights is not None and weights in features:
        raise InvalidProblem(
            ("model", "weights"), f"{weights!r} is a feature too.", "a column that is neither target nor feature"
        )


def _check_extent(features: Sequence[str], targets: int, intercept: bool, degree: int) -> None:
    if not 1 <= degree <= HIGHEST_DEGREE:
        raise InvalidProblem(("model", "degree"), f"{degree} is no degree that is fitted.", f"1 to {HIGHEST_DEGREE}")
    terms = len(features) * degree + int(intercept)
    if terms == 0:
        raise InvalidProblem(
            ("model", "features"),
            "Neither a feature nor an intercept: nothing to fit.",
            "a feature or an intercept",
        )
    if terms > MOST_TERMS:
        field = "features" if degree == 1 else "degree"
        raise InvalidProblem(("model", field), f"The model has {terms} terms.", f"at most {MOST_TERMS} terms")
    if terms * targets > MOST_COEFFICIENTS:
        raise InvalidProblem(
            ("model", "targets"),
            f"{terms} terms for {targets} targets are {terms * targets} coefficients.",
            f"at most {MOST_COEFFICIENTS} coefficients",
        )


def _check_terms(model: Model) -> None:
    if INTERCEPT in model.features:
        raise InvalidProblem(
            ("model", "features"),
            f"{INTERCEPT!r} is the intercept's own name.",
            "another name for the column",
        )
    met = set[str]()
    for term in model.powers:
        if term in met:
            raise InvalidProblem(
                ("model", "degree"),
                f"{term!r} is a column's name and a power of another column.",
                "another name for the column, or a lower degree",
            )
        met.add(term)


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"columns of the dataset: {shown}{', ..' if len(names) > 20 else ''}"
