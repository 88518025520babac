"""The catalogue of solvers says what requests are checked by: every member, every default, every bound."""

import json
import math
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
from pydantic import ValidationError

from service.api.catalogue import catalogue
from service.api.schemas.catalogue import KindDescription, OptionDescription
from service.api.schemas.request import FitRequest
from service.fitting import loss, scaling, solver
from service.fitting.descent import optimizers, schedules, start
from service.fitting.penalty import Penalty

CATALOGUE = catalogue()
DATA = {"x": [1, 2, 3], "y": [1, 2, 4]}
#: What the options of each list stand in, from the outside in.
PLACES = {
    "optimizers": ("solver", "optimizer"),
    "schedules": ("solver", "optimizer", "learning_rate"),
    "starts": ("solver", "start"),
    "penalties": ("solver", "penalty"),
    "solvers": ("solver",),
}
#: Options that have no default, and what they may be.
REQUIRED: dict[str, Any] = {
    "initial_learning_rate": 0.1,
    "decay_steps": 5,
    "decay_rate": 0.5,
    "boundaries": [3],
    "values": [0.1, 0.2],
    "strength": 0.5,
    "coefficients": [1.0],
    "fit": "00000000-0000-4000-8000-000000000000",
}


def _body(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    for part in reversed(place):
        value = {part: value}
    return {"data": DATA, **value}


def _kinds() -> Iterator[tuple[str, KindDescription]]:
    for name in PLACES:
        for kind in getattr(CATALOGUE, name):
            yield name, kind


def _filled_in(kind: KindDescription, **options: Any) -> dict[str, Any]:
    needed = {option.name: REQUIRED[option.name] for option in kind.options if option.required}
    return {"kind": kind.kind} | needed | options


def _domain_kinds(union: Any) -> list[str]:
    return [member.kind for member in get_args(union) or (union,)]


@pytest.mark.parametrize(
    ("name", "union"),
    [
        ("optimizers", optimizers.Optimizer),
        ("schedules", schedules.Schedule),
        ("starts", start.Start),
        ("penalties", Penalty),
        ("solvers", solver.Solver),
    ],
)
def test_every_member_of_a_union_is_there(name: str, union: Any) -> None:
    assert [kind.kind for kind in getattr(CATALOGUE, name)] == _domain_kinds(union)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("scalings", scaling.ScalingKind),
        ("losses", loss.Loss),
        ("backends", solver.Backend),
        ("dtypes", solver.Precision),
    ],
)
def test_every_choice_is_there(name: str, choices: Any) -> None:
    assert tuple(choice.name for choice in getattr(CATALOGUE, name)) == get_args(choices)


def test_engines_and_stop_rules_are_there() -> None:
    assert {engine.name for engine in CATALOGUE.engines} >= {"numpy_statistics", "tensorflow_xla", "least_squares"}
    assert [rule.name for rule in CATALOGUE.stop_rules] == list(solver.Stop.__dataclass_fields__)


def test_everything_is_described_in_sentences() -> None:
    texts = list(_descriptions(CATALOGUE.model_dump()))
    assert len(texts) > 120
    for text in texts:
        assert text[-1] in ".)", text
        assert "\n" not in text


def _descriptions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "description" in value:
            yield value["description"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _descriptions(item)


KINDS = list(_kinds())


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=[f"{name} {kind.kind}" for name, kind in KINDS])
def test_defaults_are_what_leaving_out_means(name: str, kind: KindDescription) -> None:
    short = FitRequest.model_validate(_body(PLACES[name], _filled_in(kind)))
    # What depends on other options has a description instead.
    plain = {
        option.name: option.default
        for option in kind.options
        if not option.required and (option.default is not None or option.nullable)
    }
    assert FitRequest.model_validate(_body(PLACES[name], _filled_in(kind, **plain))) == short
    assert all(option.default is None for option in kind.options if option.required)


def _steps(option: OptionDescription) -> Iterator[tuple[Any, Any]]:
    """For each bound a value that keeps it, as near as there is, and the nearest that does not."""
    whole = "integer" in (option.type, option.item_type)
    for bound, away in ((option.minimum, -1), (option.maximum, 1)):
        if bound is not None:
            yield bound, bound + away if whole else math.nextafter(bound, away * math.inf)
    for bound, inwards in ((option.exclusive_minimum, 1), (option.exclusive_maximum, -1)):
        if bound is not None:
            yield math.nextafter(bound, inwards * math.inf), bound


def _bounds() -> Iterator[tuple[tuple[str, ...], Any, Any, int | None]]:
    """Place of an option, a body with its best and with its first bad value, and where in a list that stands."""
    for name, kind in KINDS:
        for option in kind.options:
            place = (*PLACES[name], option.name)
            for good, bad in _steps(option):
                item = 0 if option.type == "list" else None
                values = [
                    [value, *REQUIRED[option.name][1:]] if option.type == "list" else value for value in (good, bad)
                ]
                bodies = [_body(PLACES[name], _filled_in(kind, **{option.name: value})) for value in values]
                yield place, bodies[0], bodies[1], item
    for option in CATALOGUE.stop_rules:
        place = ("solver", "stop", option.name)
        for good, bad in _steps(option):
            yield place, _body(place, good), _body(place, bad), None


BOUNDS = list(_bounds())


@pytest.mark.parametrize(
    ("place", "good", "bad", "item"),
    BOUNDS,
    ids=[f"{place[-1]} {json.dumps(bad['solver'])[:70]}" for place, _, bad, _ in BOUNDS],
)
def test_every_bound_is_kept(api: httpx.Client, place: tuple[str, ...], good: Any, bad: Any, item: int | None) -> None:
    FitRequest.model_validate(good)
    answer = api.post("/v1/fits", json=bad)
    assert answer.status_code == 422, answer.text
    pointer = "".join(f"/{part}" for part in (*place, *(() if item is None else (item,))))
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_there_are_bounds_to_keep() -> None:
    assert len(BOUNDS) > 150
    lion = next(kind for kind in CATALOGUE.optimizers if kind.kind == "lion")
    beta = next(option for option in lion.options if option.name == "beta_1")
    assert (beta.exclusive_minimum, beta.maximum, beta.minimum) == (0, 1, None)


def test_null_and_words_are_taken_where_it_says_so() -> None:
    for name, kind in KINDS:
        for option in kind.options:
            for value, allowed in [(None, option.nullable), *((choice.name, True) for choice in option.choices or ())]:
                body = _body(PLACES[name], _filled_in(kind, **{option.name: value}))
                assert _is_valid(body) is allowed, (kind.kind, option.name, value)


def _is_valid(body: Any) -> bool:
    try:
        FitRequest.model_validate(body)
    except ValidationError:
        return False
    return True


def test_what_is_sent_is_the_catalogue_and_can_be_kept(api: httpx.Client) -> None:
    answer = api.get("/v1/solvers")
    assert answer.json() == json.loads(CATALOGUE.model_dump_json())
    assert answer.headers["cache-control"] == "no-cache"
    tag = answer.headers["etag"]
    again = api.get("/v1/solvers", headers={"if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get("/v1/solvers", headers={"if-none-match": '"other"'}).status_code == 200


def test_the_largest_integer_is_not_rounded(api: httpx.Client) -> None:
    # 2^63 - 1 is no double: a client that reads it as one gets 2^63, and that is refused.
    assert b'"maximum":9223372036854775807,' in api.get("/v1/solvers").content
