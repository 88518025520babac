"""The README's commands, outputs and tables are the product's own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from service.launch import launched
from service.settings import Settings, variable

ROOT = Path(__file__).parent.parent
SCRIPT = Path(sys.executable).with_name("plumbline")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
EXAMPLES = [
    (command, output)
    for (kind, command), (following, output) in pairwise(BLOCKS)
    if (kind, following) == ("sh", "text")
]


@pytest.fixture(scope="module")
def address(database_url: str) -> Iterator[str]:
    with launched({"PLUMBLINE_DATABASE_URL": database_url}) as service:
        yield service.address


@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_an_example_prints_what_it_says(address: str, command: str, output: str) -> None:
    here = command.replace("http://127.0.0.1:8000", address)
    assert here != command
    seen = subprocess.run(["sh", "-c", here], capture_output=True, text=True, check=True)
    assert seen.stdout == output


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


def test_make_has_every_target_that_is_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"serve", "test", "demo"} <= named <= targets


def test_the_settings_table_is_the_settings() -> None:
    rows = re.findall(r"^\| `(PLUMBLINE_\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert [name for name, _, _ in rows] == [variable(field) for field in Settings.model_fields]
    for (_, default, text), field in zip(rows, Settings.model_fields.values(), strict=True):
        assert text == field.description
        if field.default_factory is None and field.default is not None:
            shown = f"{field.default:g}" if isinstance(field.default, float) else f"{field.default}"
            assert default == f"`{shown}`"


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("command", re.findall(r"`plumbline ([a-z]+)[^`]*`", README))
def test_the_console_script_knows_every_command_named(command: str) -> None:
    seen = subprocess.run([SCRIPT, command, "--help"], capture_output=True, text=True, check=True)
    assert command in seen.stdout
