"""The OpenAPI document, in the form that generated clients are good with."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

PROBLEM = "application/problem+json"
_FORMATS = {"number": "double", "integer": "int64"}
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
    for part in _objects(document):
        # Without a format, some generators take a number for a 32-bit one.
        name = _FORMATS.get(str(part.get("type")))
        if name is not None:
            part.setdefault("format", name)
    for operations in document["paths"].values():
        for operation in operations.values():
            _call_errors_problems(operation["responses"])
    return document


def _call_errors_problems(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if int(status) >= _FIRST_ERROR:
            response["content"] = {PROBLEM: response["content"].pop("application/json")}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)
