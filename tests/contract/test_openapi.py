"""The OpenAPI document: committed, valid, and in the form that generated clients are good with."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from service.api import observation_columns, trajectory_columns

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
        "post /v1/fits:batch": "create_fits",
        "get /v1/fits": "list_fits",
        "get /v1/fits/{fit_id}": "get_fit",
        "delete /v1/fits/{fit_id}": "delete_fit",
        "post /v1/fits/{fit_id}/cancel": "cancel_fit",
        "post /v1/fits/{fit_id}/retry": "retry_fit",
        "get /v1/queue": "get_queue",
        "get /v1/queue/dead": "list_dead_letters",
        "get /v1/fits/{fit_id}/events": "watch_fit",
        "get /v1/fits/{fit_id}/trajectory": "get_trajectory",
        "get /v1/fits/{fit_id}/observations": "get_observations",
        "post /v1/fits/{fit_id}/predictions": "predict",
        "get /v1/fits/{fit_id}/script": "get_script",
        "post /v1/fits/{fit_id}/remedies/{number}": "apply_remedy",
        "post /v1/forecasts": "create_forecast",
        "get /v1/causes": "list_causes",
        "get /v1/solvers": "list_solvers",
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
    for name in ("Solver", "Optimizer", "Schedule", "Start", "Penalty"):
        assert schemas[name]["discriminator"]["propertyName"] == "kind"
    for name in ("Data", "Matrix", "Every", "LearningRate", "NewData", "NewMatrix"):
        assert len(schemas[name]["oneOf"]) > 1


def test_nothing_defaults_to_a_list(document: dict[str, Any]) -> None:
    names = [id(part["properties"]) for part in _objects(document) if "properties" in part]
    parts = [part for part in _objects(document) if id(part) not in names]
    assert not [part for part in parts if isinstance(part.get("default"), list | dict)]


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
    "NullDirection",
    "TargetSummary",
    "Inference",
    "CovarianceMatrix",
    "Collinearity",
    "OtherAnswer",
    "OtherCoefficient",
    "FitLinks",
    "Queue",
    "QueueLine",
    "DeadLetter",
    "DeadLetterPage",
    "Observations",
    "ObservationColumns",
    "Predictions",
    "TargetPrediction",
    "Predicted",
    "Extrapolation",
    "Forecast",
    "Place",
    "End",
    "ExpectedCoefficient",
    "Direction",
    "StepsTo",
    "Cause",
    "Remedy",
    "Gap",
    "CauseCatalogue",
    "CauseDescription",
    "CauseNumber",
    "SolverCatalogue",
    "KindDescription",
    "OptionDescription",
    "ChoiceDescription",
]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_always_have_all_their_fields(document: dict[str, Any], name: str) -> None:
    schema = document["components"]["schemas"][name]
    assert set(schema["required"]) == set(schema["properties"])


def test_requests_name_every_field_and_no_others(document: dict[str, Any]) -> None:
    request = document["components"]["schemas"]["FitRequest"]
    assert request["additionalProperties"] is False
    assert request["required"] == ["data"]


def test_requests_can_be_told_apart_by_what_is_required(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for union in ("Solver", "Optimizer", "Schedule", "Start", "Penalty"):
        for reference in schemas[union]["discriminator"]["mapping"].values():
            assert "kind" in schemas[reference.rpartition("/")[2]]["required"]


def test_what_depends_on_other_options_has_no_default(document: dict[str, Any]) -> None:
    # Generated clients send defaults: with max_steps, 100 epochs would not be what was asked for.
    epochs = document["components"]["schemas"]["Descent"]["properties"]["epochs"]
    assert "default" not in epochs
    assert "100" in epochs["description"]


def test_integers_have_bounds_that_64_bits_hold(document: dict[str, Any]) -> None:
    integers = [part for part in _objects(document) if part.get("type") == "integer"]
    bounds = [part[name] for part in integers for name in ("minimum", "maximum") if name in part]
    assert 2**63 - 1 in bounds
    assert {type(bound) for bound in bounds} == {int}
    assert max(bounds) < 2**63


def test_nothing_is_always_null_or_of_patterned_names(document: dict[str, Any]) -> None:
    # The first becomes a type that nothing can be assigned to, the second one that everything can.
    assert not [part for part in _objects(document) if "patternProperties" in part]
    for schema in document["components"]["schemas"].values():
        assert {"type": "null"} not in [{"type": part.get("type")} for part in schema.get("properties", {}).values()]
    labels = document["components"]["schemas"]["FitRequest"]["properties"]["labels"]
    assert labels["additionalProperties"]["type"] == "string"
    assert labels["propertyNames"]["pattern"].startswith("^[A-Za-z0-9]")


def test_parameters_are_what_urls_and_headers_can_hold(document: dict[str, Any]) -> None:
    parameters = [part for _, operation in _operations(document) for part in operation.get("parameters", ())]
    assert len(parameters) > 10
    for parameter in parameters:
        assert parameter["name"].lower() not in ("accept", "content-type", "authorization")
        assert parameter["schema"]["type"] in ("string", "integer", "number", "object"), parameter["name"]
        assert parameter["in"] != "header" or parameter["schema"]["type"] == "string"


@pytest.mark.parametrize(
    ("table", "names"), [("trajectory", trajectory_columns.FIELDS), ("observations", observation_columns.FIELDS)]
)
def test_the_fields_of_a_table_are_spelled_out(document: dict[str, Any], table: str, names: tuple[str, ...]) -> None:
    operation = document["paths"][f"/v1/fits/{{fit_id}}/{table}"]["get"]
    [fields] = [part["schema"] for part in operation["parameters"] if part["name"] == "fields"]
    assert re.search(fields["pattern"], ",".join(names))
    for wrong in ("", f"{names[0]},", f"{names[0]},los", f"{names[0]}s"):
        assert not re.search(fields["pattern"], wrong)


@pytest.mark.parametrize(
    ("columns", "names"),
    [("TrajectoryColumns", trajectory_columns.FIELDS), ("ObservationColumns", observation_columns.FIELDS)],
)
def test_every_column_of_a_table_is_declared(document: dict[str, Any], columns: str, names: tuple[str, ...]) -> None:
    assert tuple(document["components"]["schemas"][columns]["required"]) == names


def test_a_case_holds_a_body_that_clients_can_send(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["CaseRequest"]["properties"]["body"]["$ref"] == "#/components/schemas/FitRequest"
    assert schemas["Expectation"]["properties"]["source"]["enum"] == ["published", "computed"]


HEADERS = {
    ("post /v1/fits", "201"): {"Location", "Preference-Applied", "Idempotent-Replayed"},
    ("post /v1/fits", "202"): {"Location", "Preference-Applied", "Retry-After", "Idempotent-Replayed"},
    ("post /v1/fits", "503"): {"Retry-After"},
    ("post /v1/fits:batch", "202"): {"Idempotent-Replayed"},
    ("post /v1/fits:batch", "503"): {"Retry-After"},
    ("get /v1/fits/{fit_id}", "200"): {"ETag", "Cache-Control", "Retry-After"},
    ("get /v1/fits/{fit_id}", "304"): {"ETag", "Cache-Control"},
    ("post /v1/fits/{fit_id}/cancel", "202"): {"Location", "Retry-After"},
    ("post /v1/fits/{fit_id}/retry", "202"): {"Location", "Retry-After"},
    ("get /v1/fits/{fit_id}/trajectory", "200"): {"Vary"},
    ("get /v1/fits/{fit_id}/trajectory", "409"): {"Retry-After"},
    ("get /v1/fits/{fit_id}/observations", "200"): {"Vary"},
    ("post /v1/fits/{fit_id}/predictions", "409"): {"Retry-After"},
    ("get /v1/fits/{fit_id}/script", "200"): {"Content-Disposition"},
    ("get /v1/fits/{fit_id}/script", "409"): {"Retry-After"},
    ("post /v1/fits/{fit_id}/remedies/{number}", "201"): {"Location", "Preference-Applied", "Idempotent-Replayed"},
    ("post /v1/fits/{fit_id}/remedies/{number}", "202"): {
        *("Location", "Preference-Applied", "Retry-After", "Idempotent-Replayed")
    },
    ("post /v1/fits/{fit_id}/remedies/{number}", "409"): {"Retry-After"},
    ("post /v1/forecasts", "503"): {"Retry-After"},
    ("get /v1/causes", "200"): {"ETag", "Cache-Control"},
    ("get /v1/causes", "304"): {"ETag", "Cache-Control"},
    ("get /v1/solvers", "200"): {"ETag", "Cache-Control"},
    ("get /v1/solvers", "304"): {"ETag", "Cache-Control"},
    ("get /health/ready", "503"): {"Retry-After"},
    ("get /v1/cases", "405"): {"Allow"},
}


@pytest.mark.parametrize(("name", "status"), HEADERS)
def test_headers_are_declared(document: dict[str, Any], name: str, status: str) -> None:
    declared = dict(_operations(document))[name]["responses"][status]["headers"]
    assert declared.keys() == HEADERS[name, status]
    assert all(header["description"].endswith(".") for header in declared.values())


def test_programs_are_text(document: dict[str, Any]) -> None:
    answer = document["paths"]["/v1/fits/{fit_id}/script"]["get"]["responses"]["200"]
    assert answer["content"] == {"text/x-python": {"schema": {"type": "string"}}}


def test_optimizers_share_their_options_and_say_what_words_mean(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    members = [reference.rpartition("/")[2] for reference in schemas["Optimizer"]["discriminator"]["mapping"].values()]
    assert len(members) == 10
    for name in members:
        options = schemas[name]["properties"]
        assert options["learning_rate"]["$ref"] == "#/components/schemas/LearningRate"
        assert {"weight_decay", "clipnorm", "global_clipnorm", "use_ema"} <= options.keys()
    meant = [part for part in _objects(document) if "x-enum-descriptions" in part]
    assert len(meant) >= 6
    assert all(len(part["enum"]) == len(part["x-enum-descriptions"]) for part in meant)


def test_labels_can_be_asked_for(document: dict[str, Any]) -> None:
    parameters = {item["name"]: item for item in document["paths"]["/v1/fits"]["get"]["parameters"]}
    assert parameters.keys() == {"status", "parent", "page_size", "page_token", "view", "labels"}
    assert parameters["labels"]["explode"] is True
    assert re.search(parameters["labels"]["schema"]["propertyNames"]["pattern"], "label.team/a")
