"""The schema: what it holds, and that any number of processes may bring it about at once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command

from service.database import migrate as migrate_module
from service.database.errors import DatabaseUnreachableError, DatabaseUnsuitableError
from service.database.migrate import apply_queue_schema, await_database, migrate


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to a migrated database; what a test writes is rolled back."""
    connection = psycopg.connect(database_url)
    yield connection
    connection.rollback()
    connection.close()


def _tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {str(row[0]) for row in rows}


def _insert_fit(connection: psycopg.Connection, **values: object) -> None:
    connection.execute("INSERT INTO dataset VALUES ('d', 1, '[]', '') ON CONFLICT DO NOTHING")
    row: dict[str, object] = {"id": uuid4(), "status": "queued", "dataset_id": "d", **values}
    connection.execute(
        "INSERT INTO fit (id, status, dataset_id, request, task)"
        " VALUES (%(id)s, %(status)s, %(dataset_id)s, '{}', '{}')",
        row,
    )


def test_any_number_may_migrate_at_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(migrate, [empty_database_url] * 6))
    assert {"dataset", "fit", "trajectory_block", "procrastinate_jobs"} <= _tables(empty_database_url)


def test_only_known_states(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        _insert_fit(connection, status="lost")


def test_a_fit_needs_its_dataset(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        _insert_fit(connection, dataset_id="another")


def test_a_trajectory_goes_with_its_fit(connection: psycopg.Connection) -> None:
    fit = uuid4()
    _insert_fit(connection, id=fit)
    connection.execute("INSERT INTO trajectory_block VALUES (%s, 0, '')", [fit])
    connection.execute("DELETE FROM fit")
    assert connection.execute("SELECT count(*) FROM trajectory_block").fetchone() == (0,)


def test_the_newest_fits_are_read_from_an_index(connection: psycopg.Connection) -> None:
    connection.execute("SET LOCAL enable_seqscan = off")
    plan = connection.execute("EXPLAIN SELECT id FROM fit ORDER BY created_at DESC, id DESC LIMIT 10").fetchall()
    assert "fit_newest" in str(plan)


def test_the_remedies_of_a_fit_are_read_from_an_index(connection: psycopg.Connection) -> None:
    connection.execute("SET LOCAL enable_seqscan = off")
    query = "EXPLAIN SELECT id FROM fit WHERE parent = %s ORDER BY created_at DESC, id DESC LIMIT 10"
    assert "fit_parent" in str(connection.execute(query, [uuid4()]).fetchall())


def test_a_newer_queue_brings_only_its_new_migrations(
    connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "00.00.00_01_initial.sql").write_text("SELECT 1 / 0;")
    # A percent sign and two statements: the text must reach the server untouched.
    (tmp_path / "99.00.00_01_newer.sql").write_text("CREATE TABLE newer (n int); INSERT INTO newer SELECT 5 % 3;")
    monkeypatch.setattr(migrate_module, "_QUEUE_MIGRATIONS", tmp_path)
    apply_queue_schema(connection)
    apply_queue_schema(connection)
    assert connection.execute("SELECT n FROM newer").fetchall() == [(2,)]
    assert connection.execute("SELECT version FROM queue_schema").fetchall() == [("99.00.00_01_newer",)]


def test_an_old_server_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate_module, "OLDEST_SERVER", 99)
    with pytest.raises(DatabaseUnsuitableError, match="needs 99 or newer"):
        migrate(database_url)


def test_a_refusal_by_the_database_is_told(database_url: str) -> None:
    read_only = database_url + "&options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(DatabaseUnsuitableError, match="read-only"):
        migrate(read_only)


def test_a_database_that_answers_is_not_waited_for(database_url: str) -> None:
    said: list[str] = []
    await_database(database_url, 0.0, said.append)
    assert said == []


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(DatabaseUnreachableError, match="PLUMBLINE_DATABASE_URL"):
        await_database(f"postgresql:///d?host={tmp_path}", 0.3, said.append)
    assert len(said) == 1


def test_an_unreadable_url() -> None:
    with pytest.raises(DatabaseUnsuitableError, match="cannot be read"):
        await_database("postgresql://host/d?no_such_option=1", 0.3, print)


@pytest.mark.parametrize("module", ["service.supervisor", "service.cli"])
def test_a_process_that_stays_does_without_sqlalchemy(module: str) -> None:
    script = f"import sys, {module}; sys.exit(bool({{'sqlalchemy', 'alembic'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


def test_fits_of_before_have_as_many_iterations_as_steps(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    with monkeypatch.context() as before:
        before.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        migrate(empty_database_url)
    result = '{"report": {"outcome": {"steps": 7, "epochs": 2}, "loss": {"final": 1e-300, "excess": "NaN"}}}'
    with psycopg.connect(empty_database_url) as connection:
        for _ in range(2):
            _insert_fit(connection)
        connection.execute("UPDATE fit SET result = %s WHERE id = (SELECT min(id::text) FROM fit)::uuid", [result])
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        found = [row[0] for row in connection.execute("SELECT result FROM fit")]
    expected = json.loads(result)
    expected["report"]["outcome"]["iterations"] = 7
    assert expected in found
    assert None in found
