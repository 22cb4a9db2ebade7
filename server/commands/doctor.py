"""`tierwise doctor`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tierwise.server.commands.console import plain, write_json, write_table
from tierwise.server.doctor import Diagnosis, diagnosis, fatal
from tierwise.server.runtime import run
from tierwise.server.settings import Settings
from tierwise.storage.errors import TierwiseError

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}

Loaded = tuple[Settings, Mapping[str, str]]


def run_doctor(load: Callable[[], Loaded], file: Callable[[], Path | None], *, as_json: bool) -> int:
    """Say what stands in the way of the installation, and what to do; the exit code is 1 if that keeps
    calls from being served. `load` reads the settings, `file` says from where."""
    found = _diagnosed(load, file)
    if as_json:
        write_json(found)
    else:
        _write(found)
    return 0 if found.ok else 1


def _diagnosed(load: Callable[[], Loaded], file: Callable[[], Path | None]) -> Diagnosis:
    try:
        settings, environ = load()
        return run(diagnosis, settings, environ, file())
    except TierwiseError as error:
        return fatal(error)


def _write(found: Diagnosis) -> None:
    rows = [
        [plain(item.status, _COLOURS[item.status]), item.check, item.message, item.fix or ""]
        for item in found.findings
    ]
    write_table(["", "check", "found", "what to do"], rows)
