"""The OpenAPI document: committed, valid, and in the form that generated clients are good with."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "openapi" / "openapi.json"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def text() -> str:
    """What the command prints, without a database and without TensorFlow."""
    command = [sys.executable, "-W", "error", "-m", "service.api.openapi"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def document(text: str) -> dict[str, Any]:
    """The document."""
    found: dict[str, Any] = json.loads(text)
    return found


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield f"{method} {path}", item[method]


def test_the_committed_document_is_the_contract(text: str) -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text, "run: python -m service.api.openapi > openapi/openapi.json"


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_every_number_has_a_format(document: dict[str, Any]) -> None:
    numbers = [part for part in _objects(document) if part.get("type") in ("number", "integer")]
    assert len(numbers) > 50
    for part in numbers:
        assert part["format"] == {"number": "double", "integer": "int64"}[part["type"]]


def test_every_operation_is_named_and_tagged(document: dict[str, Any]) -> None:
    names = {name: operation["operationId"] for name, operation in _operations(document)}
    assert names == {
        "post /v1/fits": "create_fit",
        "get /v1/fits": "list_fits",
        "get /v1/fits/{fit_id}": "get_fit",
        "get /v1/fits/{fit_id}/trajectory": "get_trajectory",
        "get /v1/cases": "list_cases",
        "get /v1/cases/{name}": "get_case",
        "get /health/live": "live",
        "get /health/ready": "ready",
    }
    for _, operation in _operations(document):
        assert operation["tags"]


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for name, operation in _operations(document):
        responses = operation["responses"]
        for status in ("405", "422", "500", *(("400", "413", "415") if "requestBody" in operation else ())):
            assert status in responses, f"{name} does not say {status}"
        for status, response in responses.items():
            if int(status) >= 400:
                schema = {"$ref": "#/components/schemas/Problem"}
                assert response["content"] == {"application/problem+json": {"schema": schema}}


def test_unions_are_named_and_discriminated(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("Solver", "Optimizer", "Start"):
        assert schemas[name]["discriminator"]["propertyName"] == "kind"
    for name in ("Data", "Matrix", "Every"):
        assert len(schemas[name]["oneOf"]) > 1


def test_nothing_defaults_to_a_list(document: dict[str, Any]) -> None:
    assert not [part for part in _objects(document) if isinstance(part.get("default"), list | dict)]


ANSWERS = [
    "Fit",
    "FitResult",
    "FitPage",
    "Coefficient",
    "Trajectory",
    "TrajectoryColumns",
    "Problem",
    "Fault",
    "Case",
    "Ready",
    "Progress",
    "Outcome",
    "Reference",
    "LossComparison",
]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_always_have_all_their_fields(document: dict[str, Any], name: str) -> None:
    schema = document["components"]["schemas"][name]
    assert set(schema["required"]) == set(schema["properties"])


def test_requests_name_every_field_and_no_others(document: dict[str, Any]) -> None:
    request = document["components"]["schemas"]["FitRequest"]
    assert request["additionalProperties"] is False
    assert request["required"] == ["data"]


def test_labels_can_be_asked_for(document: dict[str, Any]) -> None:
    parameters = {item["name"]: item for item in document["paths"]["/v1/fits"]["get"]["parameters"]}
    assert parameters.keys() == {"status", "page_size", "page_token", "labels"}
    assert parameters["labels"]["explode"] is True
