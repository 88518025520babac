"""A watcher: every answer the tests get must be one that the OpenAPI document declares."""

import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from service.api.app import create_app

_JSON = ("application/json", "application/problem+json")
#: What every HTTP answer may have.
_COMMON = {"content-length", "content-type", "connection"}


@cache
def document() -> dict[str, Any]:
    """The document of the application."""
    return create_app(None).openapi()


def watch(answer: httpx.Response) -> None:
    """Assert that status, headers, media type and body are declared; a hook for httpx's clients."""
    operation = _operation(answer.request)
    if operation is None:
        return
    declared = operation["responses"].get(str(answer.status_code))
    assert declared is not None, f"{answer.request.method} {answer.url.path} does not declare {answer.status_code}"
    undeclared = answer.headers.keys() - {name.lower() for name in declared.get("headers", {})} - _COMMON
    assert not undeclared, f"{answer.request.method} {answer.url.path} {answer.status_code} declares no {undeclared}"
    if media_type := answer.headers.get("content-type", "").partition(";")[0]:
        assert media_type in declared["content"]
    if media_type in _JSON:
        answer.read()
        _validator(declared["content"][media_type]["schema"]["$ref"]).validate(answer.json())


def _operation(request: httpx.Request) -> dict[str, Any] | None:
    path = request.url.path
    for template, operations in document()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            operation: dict[str, Any] | None = operations.get(request.method.lower())
            return operation
    return None


@cache
def _validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": reference, "components": document()["components"]})
