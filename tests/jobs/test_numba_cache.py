"""The folder for compiled code can always be written to, and begins with what was compiled beforehand."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from service.jobs import numba_cache as module
from service.jobs.numba_cache import VARIABLE, numba_cache, numba_variables, sources_digest, target

_NEW = "flags\t: fpu " + " ".join(sorted(module._LEVEL_FLAGS)) + " avx512f\n"
_OLD = "flags\t: fpu sse2 avx\n"


def test_it_lies_in_the_data_folder_and_stays(tmp_path: Path) -> None:
    with numba_cache(tmp_path / "not there yet") as folder:
        assert folder == tmp_path / "not there yet" / "cache" / "numba" / sources_digest()
    assert folder.is_dir()


def test_elsewhere_if_need_be_and_then_it_goes(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with numba_cache(blocked) as folder:
        (folder / "compiled").touch()
    assert not folder.exists()


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an installation comes with: here one file, some folders down."""
    folder = tmp_path / "shipped"
    (folder / "module").mkdir(parents=True)
    (folder / "module" / "index").write_text("compiled")
    monkeypatch.setattr(module, "shipped", lambda: folder)
    return folder


@pytest.mark.usefixtures("shipped")
def test_a_new_folder_begins_with_what_the_installation_comes_with(tmp_path: Path) -> None:
    with numba_cache(tmp_path / "data") as folder:
        assert (folder / "module" / "index").read_text() == "compiled"
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
        (folder / "module" / "index").write_text("compiled anew")
    with numba_cache(tmp_path / "data") as folder:
        assert (folder / "module" / "index").read_text() == "compiled anew"


@pytest.mark.usefixtures("shipped")
def test_so_does_one_that_goes_away(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with numba_cache(blocked) as folder:
        assert (folder / "module" / "index").read_text() == "compiled"
    assert not folder.exists()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are x86-64's")
@pytest.mark.parametrize(("flags", "level"), [(_NEW, "x86-64-v3"), (_OLD, None), ("", None), (None, None)])
def test_code_is_compiled_for_all_processors_of_a_level(tmp_path: Path, flags: str | None, level: str | None) -> None:
    processors = tmp_path / "cpuinfo"
    if flags is not None:
        processors.write_text(flags)
    assert target(processors).get("NUMBA_CPU_NAME") == level


def test_numba_takes_the_target(tmp_path: Path) -> None:
    program = "from numba.core.registry import cpu_target;print(cpu_target.target_context.codegen().magic_tuple()[1:])"
    with numba_variables(tmp_path) as variables:
        assert variables[VARIABLE].startswith(str(tmp_path))
        said = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | variables, capture_output=True, text=True, check=True
        )
    level = variables.get("NUMBA_CPU_NAME")
    assert level is None or said.stdout.strip() == str((level, ""))
