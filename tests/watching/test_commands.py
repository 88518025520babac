"""`plumbline fit`, `watch` and `cancel` against a real service."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

SMALL: dict[str, Any] = {"data": {"columns": {"x": [1, 2, 3, 4], "y": [1, 2, 4, 3]}}}
LONG = SMALL | {"solver": {"optimizer": {"kind": "adam"}, "epochs": 10**9}}
PATIENCE = 60.0


def _start(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def _run(*arguments: str, sent: str | None = None, **variables: str) -> tuple[int, str, str]:
    with _start(*arguments, stdin=subprocess.PIPE, env=os.environ | variables) as process:
        out, err = process.communicate(sent, PATIENCE)
    return process.returncode, out, err


def _heed_interrupts() -> None:
    # What a shell runs in the background ignores them, these tests too, and passes that on to what it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _queued(address: str) -> str:
    answer = httpx.post(address + "/v1/fits", json=LONG, headers={"prefer": "respond-async"}, timeout=PATIENCE)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def test_a_request_is_sent_and_its_answer_printed(address: str, tmp_path: Path) -> None:
    body = tmp_path / "request.json"
    body.write_text(json.dumps(SMALL | {"solver": {"kind": "exact"}}), encoding="utf-8")
    host, _, port = address.removeprefix("http://").partition(":")
    code, out, err = _run("fit", str(body), PLUMBLINE_HOST=host, PLUMBLINE_PORT=port)
    assert (code, err) == (0, "")
    table = [line.split() for line in out.splitlines()]
    assert ["term", "estimate", "reference", "difference", "digits"] in table
    assert ["x", "0.8", "0.8"] in [row[:3] for row in table]
    assert f"{address}/v1/fits/" in table[-1][0]


def test_the_reasons_are_printed(address: str) -> None:
    code, out, _ = _run("fit", "-", "--url", address, sent=json.dumps(SMALL))
    assert code == 0
    words = " ".join(out.split())
    for said in ("steps are too few", "- Remedy 0: ", "above the reference's."):
        assert said in words


def test_what_is_wrong_is_printed_with_its_place_and_what_is_allowed(address: str) -> None:
    code, out, err = _run("fit", "-", "--url", address, sent=json.dumps(SMALL | {"loss": "l1", "extra": 1}))
    assert (code, out) == (1, "")
    assert err.startswith("plumbline: The request is not valid:\n")
    assert "  /loss: This is not one of the values there are. Allowed: 'mse' or 'sum_squares'.\n" in err
    assert "  /extra: There is no such field. Allowed: data, " in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit", "/nowhere/at/all"), "plumbline: cannot read /nowhere/at/all: No such file or directory\n"),
        (("watch", "x", "--url", "nonsense"), "plumbline: nonsense is no address of a service"),
        (("cancel", "x", "--url", "http://127.0.0.1:1"), "plumbline: nothing answers at http://127.0.0.1:1: "),
    ],
)
def test_what_fails_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    code, out, err = _run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(said)
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["a/b?c", str(uuid4())])
def test_a_fit_that_is_not_there(address: str, name: str) -> None:
    for command in ("watch", "cancel"):
        code, out, err = _run(command, name, "--url", address)
        assert (code, out) == (1, "")
        assert err.startswith("plumbline: There is no such thing. There is no")


def test_cancelled_it_is_over_for_whoever_watches(address: str) -> None:
    fit_id = _queued(address)
    with _start("watch", f"{address}/v1/fits/{fit_id}") as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == f"fit {fit_id[:8]}: queued\n"
        assert _run("cancel", fit_id, "--url", address) == (0, "cancelled\n", "")
        out, err = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, err) == (3, f"fit {fit_id[:8]}: cancelled\n")
    assert out == f"{address}/v1/fits/{fit_id}\n"


def test_interrupted_it_leaves_the_fit_alone_and_says_how_to_end_it(address: str) -> None:
    fit_id = _queued(address)
    with _start("watch", f"/v1/fits/{fit_id}", "--url", address, preexec_fn=_heed_interrupts) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == f"fit {fit_id[:8]}: queued\n"
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, out) == (130, "")
    assert f"`plumbline cancel {fit_id}`" in err
    assert "Traceback" not in err
    assert httpx.get(f"{address}/v1/fits/{fit_id}").json()["status"] == "queued"
    assert httpx.delete(f"{address}/v1/fits/{fit_id}").status_code == 204
