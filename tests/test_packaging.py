"""What is built, installed and run from: the locks, the Makefile, the image, the composed service."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCKS = ["runtime", "development"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def _lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def _pinned(name: str) -> dict[str, str]:
    """Return each requirement of a lock with its version and its condition."""
    return dict(re.findall(r"^([a-z0-9-]+)==(.*?) \\$", _lock(name), re.MULTILINE))


def _instructions(name: str) -> list[str]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [line.removeprefix(f"{name} ") for line in text.splitlines() if line.startswith(f"{name} ")]


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    for requirement in re.split(r"\n(?=\S)", _lock(name).strip()):
        assert re.match(r"[a-z0-9-]+==\S+( ; .+)? \\\n", requirement)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index(name: str) -> None:
    assert "://" not in _lock(name)
    assert "index-url" not in _lock(name)


def test_the_tests_run_on_what_the_service_runs_on() -> None:
    # On which systems is not compared: what tests need may be needed on more of them.
    runtime, development = (
        {name: text.partition(" ;")[0] for name, text in _pinned(lock).items()} for lock in ("runtime", "development")
    )
    assert {name: development.get(name) for name in runtime} == runtime


def test_the_lock_holds_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[A-Za-z0-9_-]+", text).group() for text in project["dependencies"]}  # type: ignore[union-attr]
    assert {name.replace("_", "-") for name in names} <= set(_pinned("runtime"))


def test_the_image_runs_without_privileges() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", _instructions("USER")[-1])
    assert _instructions("ENTRYPOINT") == ['["plumbline"]']
    assert _instructions("CMD") == ['["serve"]']
    assert _instructions("VOLUME") == ["/data"]


def test_the_image_knows_its_own_health() -> None:
    (check,) = _instructions("HEALTHCHECK")
    assert check.endswith('CMD ["plumbline", "health"]')


def test_the_image_can_be_built_by_old_builders() -> None:
    assert "<<" not in DOCKERFILE
    assert "--link" not in DOCKERFILE
    assert "--start-interval" not in DOCKERFILE
    assert len(_instructions("FROM")) == 2
    assert not re.search(r"\b(gcc|build-essential|clang\+\+)\b", DOCKERFILE)


def test_only_what_the_image_is_made_of_goes_into_it() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {part for line in _instructions("COPY") if "--from" not in line for part in line.split()[:-1]}
    assert {part.partition("/")[0] for part in copied} == allowed


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_every_composed_service_is_confined(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    assert "healthcheck" in service or "api" in name


def test_api_and_worker_are_one_image() -> None:
    api, worker = COMPOSE["services"]["api"], COMPOSE["services"]["worker"]
    assert api["image"] == worker["image"]
    assert api["environment"] == worker["environment"]
    assert ":?" in api["environment"]["PLUMBLINE_DATABASE_URL"]


@pytest.mark.parametrize(
    "name", ["Makefile", "Dockerfile", "compose.yaml", ".ci/run", "requirements/runtime.txt", "pyproject.toml"]
)
def test_nothing_of_one_machine_is_in_it(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"/work/|/root/|/home/|pypi\.|localhost:\d", text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile alone, so that nothing is installed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def _chosen(checkout: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PATH": path} if path is not None else {})}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PYTHON"):
        environment.pop(name, None)
    make = shutil.which("make")
    assert make is not None
    rule = "chosen:\n\t@echo $(PYTHON)\n"
    (checkout / "chosen.mk").write_text(rule)
    return subprocess.run(
        [make, "-f", "Makefile", "-f", "chosen.mk", *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_make_passes_over_a_shim_without_a_python_behind_it(checkout: Path) -> None:
    for name in ("python3.13", "python3.12", "python3.11", "python"):
        _program(checkout / "bin" / name, "echo 'command not found' >&2; exit 127")
    _program(checkout / "bin" / "python3", f'exec "{sys.executable}" "$@"')
    assert _chosen(checkout, "chosen", path=f"{checkout / 'bin'}:/usr/bin:/bin").stdout == "python3\n"


def test_make_takes_the_python_it_is_told(checkout: Path) -> None:
    assert _chosen(checkout, "chosen", "PYTHON=/elsewhere/python").stdout == "/elsewhere/python\n"


@pytest.mark.parametrize("python", ["", "false"])
def test_make_says_which_python_it_needs(python: str, checkout: Path) -> None:
    done = _chosen(checkout, ".venv/.created", f"PYTHON={python}")
    assert done.returncode != 0
    assert "CPython 3.11" in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("target", ["serve", "test", "lint", "format", "bench", "demo", "openapi", "lock", "clean"])
def test_make_knows(target: str, checkout: Path) -> None:
    assert re.search(rf"^\.PHONY:.*\b{target}\b", (checkout / "Makefile").read_text(), re.MULTILINE)
    assert re.search(rf"^{target}:", (checkout / "Makefile").read_text(), re.MULTILINE)


def test_the_check_before_a_change_lints_then_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert script.index("make lint") < script.index("make test")
    assert "set -euo pipefail" in script
