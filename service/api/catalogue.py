"""What solvers can be asked for, read off the JSON schemas that requests are checked by."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import TypeAdapter

from service.api.schemas.bodies import MEANINGS
from service.api.schemas.catalogue import (
    ChoiceDescription,
    KindDescription,
    OptionDescription,
    OptionList,
    OptionType,
    SolverCatalogue,
)
from service.api.schemas.request import FitRequest
from service.api.schemas.solver import Engine

#: Schemas that have a list of their own in the catalogue.
_LISTS: Mapping[str, OptionList] = {
    "Optimizer": "optimizers",
    "Schedule": "schedules",
    "Start": "starts",
    "Penalty": "penalties",
    "Stop": "stop_rules",
}
#: JSON Schema's names are ours, but for one.
_TYPES: Mapping[str, OptionType] = dict(zip(get_args(OptionType), get_args(OptionType), strict=True)) | {
    "array": "list"
}
_OBJECT: Mapping[str, Any] = {"type": "object"}


def catalogue() -> SolverCatalogue:
    """Every solver, and everything that solvers are made of."""
    schema = FitRequest.model_json_schema()
    read = _Reader(schema["$defs"])
    descent = {option.name: option.choices or [] for option in read.options("Descent")}
    scaling = {option.name: option.choices or [] for option in read.options("ScalingOptions")}
    return SolverCatalogue(
        solvers=read.kinds("Solver"),
        optimizers=read.kinds("Optimizer"),
        schedules=read.kinds("Schedule"),
        starts=read.kinds("Start"),
        penalties=read.kinds("Penalty"),
        stop_rules=read.options("Stop"),
        scalings=scaling["features"],
        losses=_choices(schema["properties"]["loss"]) or [],
        backends=descent["backend"],
        dtypes=descent["dtype"],
        engines=_choices(TypeAdapter(Engine).json_schema()) or [],
    )


class _Reader:
    """Reads descriptions off the definitions of a JSON schema."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def kinds(self, union: str) -> list[KindDescription]:
        """The members of a union of objects with a `kind`."""
        return [self._kind(_name(member["$ref"])) for member in self._definitions[union]["oneOf"]]

    def _kind(self, name: str) -> KindDescription:
        schema = self._definitions[name]
        return KindDescription(
            kind=schema["properties"]["kind"]["const"],
            description=" ".join(schema["description"].split()),
            options=self.options(name),
        )

    def options(self, name: str) -> list[OptionDescription]:
        """The fields of an object, but for its `kind`."""
        schema = self._definitions[name]
        required = schema.get("required", ())
        fields = {field: part for field, part in schema["properties"].items() if field != "kind"}
        return [self._option(field, part, field in required) for field, part in fields.items()]

    def _option(self, name: str, schema: Mapping[str, Any], required: bool) -> OptionDescription:
        forms = list(self._forms(schema))
        plain = [form for form in forms if form.get("type", "null") != "null"]
        # A number where a list may stand too is short for a list of one.
        form = max(plain, key=lambda form: form["type"] == "array", default=_OBJECT)
        item = next(self._forms(form["items"])) if "items" in form else None
        bounds = item or form
        return OptionDescription(
            name=name,
            description=schema["description"],
            type=_TYPES[form["type"]],
            members=next((form["members"] for form in forms if "members" in form), None),
            item_type=_TYPES[item["type"]] if item else None,
            required=required,
            nullable=any(form.get("type") == "null" for form in forms),
            default=schema.get("default"),
            minimum=bounds.get("minimum"),
            exclusive_minimum=bounds.get("exclusiveMinimum"),
            maximum=bounds.get("maximum"),
            exclusive_maximum=bounds.get("exclusiveMaximum"),
            min_items=form.get("minItems"),
            max_items=form.get("maxItems"),
            choices=_choices(form),
        )

    def _forms(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The forms a value may have: schemas with a `type`, and ``members`` for those with a list of their own."""
        if "$ref" in schema:
            name = _name(schema["$ref"])
            if name in _LISTS:
                yield {"members": _LISTS[name]}
            else:
                yield from self._forms(self._definitions[name])
            return
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if alternatives is None:
            yield schema
            return
        for alternative in alternatives:
            yield from self._forms(alternative)


def _choices(schema: Mapping[str, Any]) -> list[ChoiceDescription] | None:
    if "enum" not in schema:
        return None
    pairs = zip(schema["enum"], schema[MEANINGS], strict=True)
    return [ChoiceDescription(name=name, description=description) for name, description in pairs]


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]
