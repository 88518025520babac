"""Settings of one Plumbline process, read from PLUMBLINE_* variables.

Entry points build them and hand them in; no other module reads the environment.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "PLUMBLINE_"
MEBIBYTE = 1 << 20


def default_data_dir() -> Path:
    """Return the folder of the user's data home, or /var/lib/plumbline for root on Linux.

    Root has no data home of its own that the database's unprivileged user could reach.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/plumbline")
    return platformdirs.user_data_path("plumbline", appauthor=False)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow the user's links


def _blank_is_none(value: object) -> object:
    # Compose files pass an unset variable on as an empty one.
    return None if value == "" else value


def _postgres_url(value: str | None) -> str | None:
    if value is not None and not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("that is no PostgreSQL URL")
    return value


class Settings(BaseSettings):
    """What one process may be told from outside; immutable once built.

    Raises
    ------
    pydantic.ValidationError
        When a variable is outside its bounds; `explain` turns it into text for a person.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="address the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="TCP port the API listens on; 0 takes a free one")
    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        default_factory=default_data_dir, description="folder of the bundled database"
    )
    database_url: Annotated[str | None, BeforeValidator(_blank_is_none), AfterValidator(_postgres_url)] = Field(
        None,
        repr=False,  # it may hold a password
        description="URL of a PostgreSQL, postgresql://user:password@host/database; unset runs the bundled one",
    )
    workers: int = Field(1, ge=0, le=64, description="number of worker processes that `serve` starts")
    threads: int = Field(
        0, ge=0, le=1024, description="number of threads a worker computes with; 0 is the cores over PLUMBLINE_WORKERS"
    )
    max_body_bytes: int = Field(
        64 * MEBIBYTE, ge=1024, le=1024 * MEBIBYTE, description="largest request body accepted, in bytes"
    )
    max_wait_seconds: float = Field(
        60.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="longest that `Prefer: wait` holds an answer, in seconds",
    )
    max_attempts: int = Field(
        3, ge=1, le=100, description="number of times a fit is started before a crashing one is failed"
    )
    grace_seconds: float = Field(
        5.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="time in seconds that running fits get on SIGTERM before they go back to the queue",
    )
    max_fit_seconds: float = Field(
        3600.0,
        gt=0,
        le=31 * 86400,
        allow_inf_nan=False,
        description="longest that an attempt at a fit may run, in seconds",
    )
    cancel_grace_seconds: float = Field(
        2.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="time in seconds that a fit that is cancelled, or out of time, gets to stop before it is killed",
    )
    retention_days: Annotated[float | None, BeforeValidator(_blank_is_none)] = Field(
        None,
        gt=0,
        le=36500,
        allow_inf_nan=False,
        description="number of days that finished fits are kept; unset keeps them",
    )
    retention_fits: Annotated[int | None, BeforeValidator(_blank_is_none)] = Field(
        None, ge=0, description="number of finished fits that are kept, the newest; unset keeps all"
    )
    dataset_store: Annotated[str | None, BeforeValidator(_blank_is_none)] = Field(
        None,
        description="where large datasets are kept: a folder that all processes share, or s3://bucket/prefix;"
        " unset keeps them in the database",
    )
    pulse_file: Annotated[Path | None, BeforeValidator(_blank_is_none)] = Field(
        None,
        description="file that a worker touches every few seconds, for `plumbline health --worker` to look at;"
        " unset touches none",
    )


def variable(field: str) -> str:
    """Return the environment variable that sets a field."""
    return PREFIX + field.upper()


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables from which a child process builds the same settings."""
    values = settings.model_dump(exclude_none=True)
    return {variable(name): str(value) for name, value in values.items()}


def explain(error: ValidationError) -> str:
    """Return what is wrong with the settings: one line for each variable, and what it may be."""
    lines = ["Plumbline cannot start with these settings:"]
    return "\n".join(lines + [_explain_one(dict(detail)) for detail in error.errors(include_url=False)])


def _explain_one(detail: Mapping[str, Any]) -> str:
    name = str(detail["loc"][0])
    field = Settings.model_fields.get(name)
    if field is None:
        return f"  {variable(name)} is not a setting"
    given = repr(detail["input"]) if field.repr else "the value given"
    allowed = f"{field.description}{_bounds(name)}"
    return f"  {variable(name)} cannot be {given} ({_message(detail)}); it is the {allowed}."


def _message(detail: Mapping[str, Any]) -> str:
    text = str(detail["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _bounds(name: str) -> str:
    schema = Settings.model_json_schema()["properties"][name]
    low, high = schema.get("minimum"), schema.get("maximum")
    return "" if low is None or high is None else f", from {low} to {high}"
