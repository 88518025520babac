"""The OpenAPI document, in the form that generated clients are good with."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.api.schemas.bodies import LARGEST_INT64
from service.api.schemas.events import EVENTS

PROBLEM = "application/problem+json"
_FORMATS = {"number": "double", "integer": "int64"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_FIRST_ERROR = 400


def describe(app: FastAPI) -> None:
    """Give the application its document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def to_text(document: dict[str, Any]) -> str:
    """The document as it is committed: the same bytes for the same contract."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = document["components"]["schemas"]
    schemas |= _schemas_of_events()
    for part in _objects(document):
        _be_exact_about_numbers(part)
        _be_plain_about_names(part)
        _require_discriminators(part, schemas)
    for operations in document["paths"].values():
        for operation in operations.values():
            _call_errors_problems(operation["responses"])
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _plain(parameter)
    return document


def _schemas_of_events() -> dict[str, Any]:
    """What OpenAPI 3.1 cannot say of a stream of events: for clients, which find them by name."""
    events: list[tuple[type[BaseModel], JsonSchemaMode]] = [(event, "serialization") for event in EVENTS]
    _, schemas = models_json_schema(events, ref_template="#/components/schemas/{model}")
    found: dict[str, Any] = schemas["$defs"]
    return found


def _be_exact_about_numbers(part: dict[str, Any]) -> None:
    # Without a format, some generators take a number for a 32-bit one.
    name = _FORMATS.get(str(part.get("type")))
    if name is not None:
        part.setdefault("format", name)
    if name == _FORMATS["integer"]:
        # The framework has passed them through a float, which 2^63 - 1 does not survive.
        part.update({bound: min(int(part[bound]), LARGEST_INT64) for bound in _BOUNDS & part.keys()})


def _be_plain_about_names(part: dict[str, Any]) -> None:
    """Say of an object's names and values apart what few generators understand of both together."""
    patterns = part.get("patternProperties")
    if isinstance(patterns, dict) and len(patterns) == 1:
        [(names, values)] = part.pop("patternProperties").items()
        part |= {"propertyNames": {"pattern": names}, "additionalProperties": values}


def _require_discriminators(part: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Have a union's members state what tells them apart, as OpenAPI asks; we can do without where it is the usual."""
    discriminator = part.get("discriminator")
    if not isinstance(discriminator, dict):
        return
    for reference in discriminator["mapping"].values():
        member = schemas[reference.rpartition("/")[2]]
        member["required"] = sorted({discriminator["propertyName"], *member.get("required", ())})


def _plain(parameter: dict[str, Any]) -> dict[str, Any]:
    """The parameter's schema without what URLs and headers do not have: null, and a header that is a list."""
    schema: dict[str, Any] = dict(parameter["schema"])
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        schema |= kinds[0]
    if parameter["in"] == "header" and schema.get("type") == "array":
        schema |= schema.pop("items")
    return schema


def _call_errors_problems(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if int(status) >= _FIRST_ERROR:
            # FastAPI files it under the media type of the route's other answers.
            [content] = response["content"].values()
            response["content"] = {PROBLEM: content}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)
