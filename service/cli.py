"""The console script `plumbline`: reads the settings, hands them to one part of the service, explains what fails."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Never

from pydantic import ValidationError

from service import __version__
from service.database.errors import DatabaseError
from service.settings import Settings, explain
from service.supervision.errors import SupervisorError

# How long a database that starts together with us may take to answer.
_DATABASE_PATIENCE = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every foreseeable failure is one clear text on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](Settings(), options)
    except ValidationError as error:
        return _fail(explain(error))
    except SupervisorError as error:
        return _fail(f"plumbline: {error}", error.exit_code)
    except DatabaseError as error:
        return _fail(f"plumbline: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plumbline",
        description="Linear models fitted over HTTP. Settings are environment variables, PLUMBLINE_PORT for one.",
    )
    parser.add_argument("--version", action="version", version=f"plumbline {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    serve = commands.add_parser("serve", help="run the API, its workers and, unless another is named, the database")
    serve.add_argument("--no-worker", action="store_true", help="leave the fits to workers started elsewhere")
    commands.add_parser("worker", help="run one worker on the database in PLUMBLINE_DATABASE_URL")
    commands.add_parser("migrate", help="bring the database in PLUMBLINE_DATABASE_URL to the current schema")
    health = commands.add_parser(
        "health", help="exit with 0 when the service at PLUMBLINE_HOST and PLUMBLINE_PORT is ready"
    )
    health.add_argument("--worker", action="store_true", help="when the worker that touches PLUMBLINE_PULSE_FILE works")
    for command, (what, does, named) in _REMOTE.items():
        remote = commands.add_parser(command, help=does)
        remote.add_argument("what", metavar=what, help=named)
        remote.add_argument("--url", help="where the service is; without it, at PLUMBLINE_HOST and PLUMBLINE_PORT")
    return parser


#: Commands that talk to a running service: what they are given, what they do with it, and how it is named.
_REMOTE = {
    "fit": (
        "REQUEST",
        "send a request, watch the fit and print its answer",
        "a file with it, in JSON; - for the input",
    ),
    "watch": ("FIT", "show a fit's progress until it is over, and print its answer", "its id, path or URL"),
    "cancel": ("FIT", "end a fit; what it has recorded so far is kept", "its id, path or URL"),
}


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    from service.supervisor import serve

    return serve(settings.model_copy(update={"workers": 0}) if options.no_worker else settings)


def _worker(settings: Settings, _options: argparse.Namespace) -> Never:
    _required_url(settings)
    # In whatever order the machines of a service start, its tables are there.
    if code := subprocess.run([sys.executable, "-m", "service", "migrate"], check=False).returncode:
        sys.exit(code)
    os.execv(sys.executable, [sys.executable, "-m", "service.worker"])


def _migrate(settings: Settings, _options: argparse.Namespace) -> int:
    from service.database.migrate import await_database, migrate

    url = _required_url(settings)
    await_database(url, _DATABASE_PATIENCE, tell=lambda text: print(text, file=sys.stderr, flush=True))
    migrate(url)
    return 0


def _health(settings: Settings, options: argparse.Namespace) -> int:
    reason = _stillness(settings) if options.worker else _unreadiness(settings)
    return _fail(f"plumbline: {reason}") if reason else 0


def _unreadiness(settings: Settings) -> str | None:
    from service.supervision.address import url_of
    from service.supervision.health import unreadiness

    return unreadiness(url_of(settings.host, settings.port))


def _stillness(settings: Settings) -> str | None:
    from service.supervision.pulse import stillness

    if settings.pulse_file is None:
        return "name the file that the worker touches in PLUMBLINE_PULSE_FILE"
    return stillness(settings.pulse_file)


def _remote(settings: Settings, options: argparse.Namespace) -> int:
    from service.supervision.address import url_of
    from service.watching import commands

    run: Callable[[str, str], int] = getattr(commands, options.command)
    return run(options.url or url_of(settings.host, settings.port), options.what)


def _required_url(settings: Settings) -> str:
    if settings.database_url is None:
        raise SupervisorError("name the database in PLUMBLINE_DATABASE_URL (only `plumbline serve` has one of its own)")
    return settings.database_url


def _fail(text: str, code: int = 1) -> int:
    print(text, file=sys.stderr, flush=True)
    return code


_COMMANDS: dict[str, Callable[[Settings, argparse.Namespace], int]] = {
    "serve": _serve,
    "worker": _worker,
    "migrate": _migrate,
    "health": _health,
    **dict.fromkeys(_REMOTE, _remote),
}
