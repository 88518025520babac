"""Settings: every variable, its bounds, and what a person reads when it is out of them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, default_data_dir, environment, explain, variable


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable(field), raising=False)


def test_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.database_url is None
    assert settings.data_dir == default_data_dir()
    assert settings.max_body_bytes == 64 * 2**20


def test_default_folder_of_root_is_reachable_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settings.sys.platform", "linux")
    monkeypatch.setattr("service.settings.os.geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/plumbline")


def test_default_folder_of_a_user_is_in_the_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("service.settings.os.geteuid", lambda: 1000)
    monkeypatch.setattr("service.settings.platformdirs.user_data_path", lambda name, **_: tmp_path / name)
    assert default_data_dir() == tmp_path / "plumbline"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", ""),
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("workers", "-1"),
        ("workers", "65"),
        ("threads", "-1"),
        ("threads", "1025"),
        ("max_body_bytes", "0"),
        ("max_wait_seconds", "-1"),
        ("max_wait_seconds", "nan"),
        ("max_attempts", "0"),
        ("grace_seconds", "inf"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_is_allowed(
    field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(field), value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    text = explain(caught.value)
    assert f"{variable(field)} cannot be {value!r}" in text
    assert str(Settings.model_fields[field].description) in text


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_PORT", "x")
    monkeypatch.setenv("PLUMBLINE_WORKERS", "1000")
    with pytest.raises(ValidationError) as caught:
        Settings()
    text = explain(caught.value)
    assert "PLUMBLINE_PORT" in text
    assert "from 0 to 65535" in text
    assert "PLUMBLINE_WORKERS" in text
    assert "from 0 to 64" in text


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hush" not in repr(Settings(database_url="postgresql://user:hush@host/database"))
    monkeypatch.setenv("PLUMBLINE_DATABASE_URL", "mysql://user:hush@host/database")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "PLUMBLINE_DATABASE_URL" in explain(caught.value)
    assert "hush" not in explain(caught.value)


def test_an_empty_database_url_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_DATABASE_URL", "")
    assert Settings().database_url is None


def test_a_relative_folder_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLUMBLINE_DATA_DIR", "a/../b")
    assert Settings().data_dir == tmp_path / "b"


def test_a_child_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(port=0, workers=3, data_dir=tmp_path, grace_seconds=1.5, database_url="postgres://h/d")
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Settings(port=1, unknown=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("field", list(Settings.model_fields))
def test_every_setting_is_described(field: str) -> None:
    assert Settings.model_fields[field].description
