"""The arrows of the house: imports go one way, nothing goes round, and the core stays ignorant of the edges."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import scipy

import service

ROOT = Path(service.__file__).parent

#: From the bottom up. A module may import from its own room and from rooms below.
ROOMS = ("fitting", "database", "datasets", "jobs", "api", "bootstrap", "entry")
#: Known everywhere above the core: what the process was told, and whether its parent still lives.
SHARED = {"settings", "lifeline"}
BELONGS = {"supervision": "entry", "supervisor": "entry", "cli": "entry", "asgi": "entry", "worker": "entry"}
BELONGS |= {"demo": "entry", "process": "entry", "launch": "entry", "watching": "entry", "__main__": "entry"}
#: What each room must not know of, whoever else does.
FORBIDDEN = {
    "fitting": {
        "fastapi",
        "starlette",
        "pydantic",
        "psycopg",
        "psycopg_pool",
        "procrastinate",
        "sqlalchemy",
        "uvicorn",
    },
    "api": {"tensorflow", "keras", "numba", "scipy", "sklearn", "sqlalchemy", "alembic"},
    "jobs": {"fastapi", "starlette", "tensorflow"},
    "datasets": {"fastapi", "starlette", "tensorflow", "procrastinate"},
    "database": {"fastapi", "starlette", "tensorflow", "numpy"},
}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


@cache
def _modules() -> dict[str, ast.Module]:
    return {_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def _imports(module: str) -> Iterator[str]:
    """Every import in the module, those inside functions too, as full names."""
    for node in ast.walk(_modules()[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in _modules() else str(node.module)


def _room(module: str) -> str | None:
    part = [*module.split("."), ""][1]
    return BELONGS.get(part, part) or None


@pytest.mark.parametrize("module", sorted(_modules()))
def test_imports_go_down(module: str) -> None:
    room = _room(module)
    if room is None or room in SHARED:
        assert not [name for name in _imports(module) if name.startswith("service.")]
        return
    for name in _imports(module):
        other = _room(name) if name.startswith("service.") else None
        if other is None:
            continue
        if other in SHARED:
            assert room != "fitting", f"{module} imports {name}"
        else:
            assert ROOMS.index(other) <= ROOMS.index(room), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(_modules()))
def test_rooms_do_not_know_what_they_should_not(module: str) -> None:
    unwanted = FORBIDDEN.get(_room(module) or "", set())
    assert not {name for name in _imports(module) if name.split(".")[0] in unwanted}


def test_nothing_goes_round() -> None:
    edges = {module: {name for name in _imports(module) if name in _modules()} for module in _modules()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for other in edges[module] - {module}:
                visit(other, (*path, module))
            done.add(module)

    for module in edges:
        visit(module, ())


#: What a process that stays small does without.
HEAVY = ("tensorflow", "keras", "numba", "sklearn", "sqlalchemy", "alembic", "pyarrow", "pandas", "s3fs", "botocore")
#: SciPy's parts that small fits are solved with, in the process that serves HTTP.
LIGHT_SCIPY = ("special", "linalg")


def _loaded(module: str, *names: str) -> list[str]:
    """Those of the packages, or of their parts, that importing a module brings along."""
    program = f"import sys, {module}; print(*(name for name in {names} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("module", ["service.asgi", "service.supervisor", "service.cli"])
def test_a_process_that_stays_imports_nothing_heavy(module: str) -> None:
    assert _loaded(module, *HEAVY) == []


def test_what_serves_http_imports_little_of_scipy() -> None:
    parts = [path.name for path in Path(scipy.__path__[0]).iterdir() if path.is_dir() and not path.name.startswith("_")]
    assert {"stats", "sparse", *LIGHT_SCIPY} <= set(parts)
    loaded = _loaded("service.asgi", *(f"scipy.{part}" for part in parts))
    assert set(loaded) <= {f"scipy.{part}" for part in LIGHT_SCIPY}


@pytest.mark.parametrize("module", ["service.supervisor", "service.cli"])
def test_what_does_not_fit_imports_no_numbers(module: str) -> None:
    assert _loaded(module, "numpy", "scipy") == []
