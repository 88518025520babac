"""The operators' page names what there is, and all of it."""

import re
from pathlib import Path

import pytest

from service.api import errors, refusals
from service.settings import Settings, variable
from tests.api.contract import document

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_route_that_is_named_exists() -> None:
    paths = document()["paths"]
    there_are = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    ours = {name for name in there_are if re.search("/(queue|cancel|retry)", name)}
    named = {name.replace("{id}", "{fit_id}") for name in re.findall(r"`((?:GET|POST|DELETE) /[^`]+)`", PAGE)}
    assert len(ours) == 4
    assert ours <= named <= there_are


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"PLUMBLINE_\w+", PAGE))
    assert named <= {variable(field) for field in Settings.model_fields}
    assert {"PLUMBLINE_RETENTION_DAYS", "PLUMBLINE_RETENTION_FITS"} <= named


@pytest.mark.parametrize("refusal", [refusals.AlreadyFinished, refusals.NotFailed, refusals.StillRunning])
def test_every_refusal_is_explained(refusal: type[Exception]) -> None:
    assert f"`{errors.TABLE[refusal].code}`" in PAGE


def test_every_field_of_the_queue_is_explained() -> None:
    fields = document()["components"]["schemas"]["Queue"]["properties"]
    assert all(f"`{field}`" in PAGE for field in fields)


def test_every_reason_for_a_failure_is_explained() -> None:
    source = (ROOT / "service" / "jobs" / "failures.py").read_text(encoding="utf-8")
    codes = re.findall(r'FitError\(\s*"(\w+)"', source)
    table = PAGE.partition("`error.code`")[2].partition("##")[0]
    assert len(codes) > 3
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(codes)
