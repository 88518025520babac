"""What tests of more than one room share: real databases, and folders that a database's user can reach."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import psycopg.conninfo
import pytest

from service.bootstrap import Services, open_services
from service.database.bundled import BundledPostgres
from service.database.migrate import migrate
from service.jobs.numba_cache import VARIABLE, sources_digest
from service.settings import Settings

_TEMPLATE = "migrated"
_TABLES = "fit, dataset, submission, trajectory_block, trajectory_glimpse, procrastinate_jobs, procrastinate_workers"

Outage = Callable[[], AbstractContextManager[None]]

# Compiled once for all tests and all processes they start, anew for each state of the sources: on its own, Numba
# would not notice a change in a module that a compiled function calls. It reads this when it is first imported.
_COMPILED = Path(__file__).parent.parent / ".pytest_cache" / "numba" / sources_digest()
os.environ.setdefault(VARIABLE, str(_COMPILED))


def _new_reachable_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="plumbline-test-"))
    if os.geteuid() == 0:
        # Root's database runs under a user of its own; pytest's tmp_path would shut that out.
        folder.chmod(0o711)
    return folder


def _renamed(url: str, database: str) -> str:
    return url.replace("/plumbline?", f"/{database}?", 1)


def _administer(url: str, statement: str) -> None:
    with psycopg.connect(_renamed(url, "postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def reachable_folder() -> Iterator[Path]:
    """An empty folder that the bundled database's user can enter, for root too."""
    folder = _new_reachable_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of one real bundled PostgreSQL, the same for the whole session."""
    folder = _new_reachable_folder()
    server = BundledPostgres(folder / "postgres")
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> str:
    """The name of a migrated database to copy from: migrating once is dearer than copying often."""
    _administer(postgres, f"CREATE DATABASE {_TEMPLATE}")
    migrate(_renamed(postgres, _TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="module")
def database_url(postgres: str, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated, empty database of this test module's own."""
    name = f"test_{uuid4().hex}"
    _administer(postgres, f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY file_copy")
    yield _renamed(postgres, name)
    _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def empty_database_url(postgres: str) -> Iterator[str]:
    """The URL of a database of this test module's own without any table."""
    name = f"test_{uuid4().hex}"
    _administer(postgres, f"CREATE DATABASE {name}")
    yield _renamed(postgres, name)
    _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def services(database_url: str) -> AsyncIterator[Services]:
    """The serving side's parts on the module's database, emptied."""
    async with open_services(Settings(database_url=database_url)) as parts:
        async with parts.pool.connection() as connection:
            await connection.execute(f"TRUNCATE {_TABLES} CASCADE")
        yield parts


@pytest.fixture
def outage(postgres: str, database_url: str) -> Outage:
    """A context in which the module's database cuts its connections and takes no new ones."""
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])

    @contextmanager
    def away() -> Iterator[None]:
        with psycopg.connect(_renamed(postgres, "postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            try:
                yield
            finally:
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

    return away
