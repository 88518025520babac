"""Bringing a database to the schema this version needs: our tables by Alembic, the queue's by Procrastinate's own SQL.

Only `plumbline migrate` imports this: the serving process has no use for SQLAlchemy.
"""

import time
from collections.abc import Callable
from pathlib import Path

import procrastinate.schema
import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from service.database.errors import DatabaseUnreachableError, DatabaseUnsuitableError

OLDEST_SERVER = 14

# Any number of services may start on one database at once; this constant is the only thing they share beforehand.
_LOCK = 0x506C756D62

_POLL_SECONDS = 0.25
_QUEUE_MIGRATIONS = Path(procrastinate.schema.SchemaManager.get_migrations_path())


def migrate(url: str) -> None:
    """Bring the database at a libpq URL to the current schema; one caller at a time, the others wait.

    Raises
    ------
    DatabaseUnsuitableError
        When the server is older than PostgreSQL 14, or refuses what a migration does.
    """
    try:
        _migrate(url)
    except (psycopg.Error, SQLAlchemyError, CommandError) as error:
        raise DatabaseUnsuitableError(f"the database could not be migrated: {error}") from error


def await_database(url: str, seconds: float, tell: Callable[[str], None]) -> None:
    """Return as soon as the database answers; say once, by `tell`, what is being waited for.

    Raises
    ------
    DatabaseUnreachableError
        When it has not answered after `seconds`.
    DatabaseUnsuitableError
        When the URL cannot be read.
    """
    deadline = time.monotonic() + seconds
    if reason := _refusal(url):
        tell(f"Waiting up to {seconds:.0f} s for the database: {reason}")
    while reason:
        if time.monotonic() > deadline:
            raise DatabaseUnreachableError(f"no database answers at PLUMBLINE_DATABASE_URL: {reason}")
        time.sleep(_POLL_SECONDS)
        reason = _refusal(url)


def apply_queue_schema(connection: psycopg.Connection) -> None:
    """Apply what the installed Procrastinate needs beyond what this database has, and note how far it is."""
    connection.execute("CREATE TABLE IF NOT EXISTS queue_schema (version text NOT NULL)")
    row = connection.execute("SELECT version FROM queue_schema").fetchone()
    files = sorted(_QUEUE_MIGRATIONS.glob("*.sql"))
    if row is None:
        _run_script(connection, procrastinate.schema.SchemaManager.get_schema())
        connection.execute("INSERT INTO queue_schema VALUES (%s)", [files[-1].stem])
    connection.commit()
    # Each by itself: a value added to an enumeration can be used only once that is committed.
    for file in files:
        if row is not None and file.stem > row[0]:
            _run_script(connection, file.read_text(encoding="utf-8"))
            connection.execute("UPDATE queue_schema SET version = %s", [file.stem])
            connection.commit()


def _migrate(url: str) -> None:
    # Connecting by psycopg itself takes every form of URL that the rest of the service takes.
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    with engine.connect() as connection:
        _require_suitable(_psycopg(connection))
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        connection.commit()
        _apply_own_schema(connection)
        apply_queue_schema(_psycopg(connection))


def _apply_own_schema(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _run_script(connection: psycopg.Connection, text: str) -> None:
    # Without parameters psycopg sends the text as it is, several statements and percent signs included.
    connection.execute(sql.SQL(text))


def _psycopg(connection: Connection) -> psycopg.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"expected a psycopg connection, got {type(driver).__name__}")
    return driver


def _require_suitable(connection: psycopg.Connection) -> None:
    major = connection.info.server_version // 10000
    if major < OLDEST_SERVER:
        raise DatabaseUnsuitableError(
            f"the database runs PostgreSQL {major}, and Plumbline needs {OLDEST_SERVER} or newer"
        )


def _refusal(url: str) -> str | None:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.ProgrammingError as error:
        raise DatabaseUnsuitableError(f"PLUMBLINE_DATABASE_URL cannot be read: {error}") from error
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1].strip()
    return None
