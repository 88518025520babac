"""A worker's pulse, felt from outside."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from service import cli
from service.supervision.pulse import STILL_AFTER_SECONDS, beat, stillness


@pytest.fixture
def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "pulse"
    monkeypatch.setenv("PLUMBLINE_PULSE_FILE", str(file))
    return file


async def _beat_once(file: Path | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await beat(file)


def test_who_works_is_healthy(pulse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["health", "--worker"]) == 1
    assert "no worker has touched" in capsys.readouterr().err
    asyncio.run(_beat_once(pulse))
    assert cli.main(["health", "--worker"]) == 0
    long_ago = time.time() - STILL_AFTER_SECONDS - 5
    os.utime(pulse, (long_ago, long_ago))
    assert cli.main(["health", "--worker"]) == 1
    assert "has not touched" in capsys.readouterr().err


def test_a_file_has_to_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PLUMBLINE_PULSE_FILE", raising=False)
    assert cli.main(["health", "--worker"]) == 1
    assert "PLUMBLINE_PULSE_FILE" in capsys.readouterr().err
    asyncio.run(_beat_once(None))


def test_a_worker_outlives_a_file_it_cannot_touch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(_beat_once(tmp_path / "missing" / "pulse"))
    assert "cannot be touched" in caplog.text
    assert stillness(tmp_path / "missing" / "pulse") is not None
