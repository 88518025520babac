"""A fit's program over HTTP: written for a fit of each sort, run, and held against the answer."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest

COLUMNS = {"a": [0.5, 1.0, 2.0, 3.5, 4.0], 'b "1"': [1.0, 0.0, 2.0, 1.0, 3.0], "y": [1.0, 2.5, 3.0, 6.0, 5.5]}
BODY: dict[str, Any] = {"data": {"columns": COLUMNS}, "labels": {"note": '"""; raise SystemExit(1)'}}
DESCENT: dict[str, Any] = {"epochs": 20, "optimizer": {"learning_rate": 0.01}, "batch_size": 2}


def _fitted(api: httpx.Client, solver: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/v1/fits", json=BODY | {"solver": solver})
    assert answer.status_code == 201, answer.text
    fit: dict[str, Any] = answer.json()
    return fit


def _agree(fit: dict[str, Any], text: str, folder: Path) -> None:
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", str(path)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed, answered = [json.loads(line) for line in done.stdout.splitlines()], fit["result"]["coefficients"]
    assert [(line["target"], line["term"]) for line in printed] == [(item["target"], item["term"]) for item in answered]
    found, expected = ([item["estimate"] for item in items] for items in (printed, answered))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("solver", [{"kind": "exact"}, DESCENT], ids=["exact", "descent"])
def test_a_fits_program_prints_its_coefficients(api: httpx.Client, solver: dict[str, Any], tmp_path: Path) -> None:
    fit = _fitted(api, solver)
    answer = api.get(fit["links"]["script"])
    assert answer.headers["content-type"] == "text/x-python; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="plumbline-{fit["id"]}-numpy.py"'
    assert fit["id"] in answer.text
    assert "SystemExit" not in answer.text
    _agree(fit, answer.text, tmp_path)


def test_a_fit_that_goes_on_has_a_program_of_its_own(api: httpx.Client, tmp_path: Path) -> None:
    first = _fitted(api, DESCENT | {"max_steps": 31})
    second = _fitted(api, DESCENT | {"start": {"kind": "fit", "fit": first["id"]}})
    text = api.get(second["links"]["script"]).text
    assert "another fit" in text
    _agree(second, text, tmp_path)


def test_a_program_for_keras_trains_a_keras_model(api: httpx.Client) -> None:
    answer = api.get(_fitted(api, DESCENT)["links"]["script"] + "?target=keras")
    assert answer.headers["content-disposition"].endswith('-keras.py"')
    compile(answer.text, "program", "exec")
    assert "keras.optimizers.SGD(" in answer.text


def test_there_is_nothing_for_keras_in_an_exact_fit(api: httpx.Client) -> None:
    answer = api.get(_fitted(api, {"kind": "exact"})["links"]["script"] + "?target=keras")
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert (fault["parameter"], fault["allowed"]) == ("target", "numpy")
    assert "no steps" in fault["message"]


def test_a_program_needs_a_finished_fit(api: httpx.Client, fail: Callable[[str], None]) -> None:
    queued = api.post("/v1/fits", json=BODY, headers={"prefer": "respond-async"}).json()
    answer = api.get(queued["links"]["script"])
    assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")
    fail(queued["id"])
    assert api.get(queued["links"]["script"]).status_code == 404
    assert api.get(f"/v1/fits/{uuid4()}/script").status_code == 404
