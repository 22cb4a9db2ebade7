"""What a host is told: the command that starts tierwise from anywhere, and which variables to hand on."""

import base64
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tierwise.server.errors import CannotInstall
from tierwise.server.hosts.known import Host

Entry = dict[str, Any]
"""A server as a host's file has it: `command`, `args`, `env` and what else the host wants."""

_PASSING = frozenset({"archive-v0", "environments-v2"})
"""Folders of uv's cache, from which `uvx` runs programs and which may be emptied at any time."""


def launch() -> tuple[str, ...]:
    """The command that starts this tierwise again, whatever folder and PATH it is given.

    Raises:
        CannotInstall: it runs from the cache of `uvx`, which is not to be found.
    """
    if _PASSING.intersection(Path(sys.prefix).parts):
        return _uvx()
    script = Path(sys.executable).with_name("tierwise.exe" if sys.platform == "win32" else "tierwise")
    if script.is_file():
        return (str(script),)
    return (sys.executable, "-m", "tierwise.server.cli")


def _uvx() -> tuple[str, ...]:
    found = shutil.which("uvx")
    if not found:
        raise CannotInstall(
            "tierwise runs from the cache of uvx, and uvx is not on the PATH: put it there, or install"
            " tierwise to stay, with `uv tool install` or pipx."
        )
    return (str(Path(found).absolute()), "--from", _source(), "tierwise")


def _source() -> str:
    """What this tierwise was installed from, as `uvx --from` takes it: the same version or commit."""
    try:
        package = distribution("tierwise")
    except PackageNotFoundError:  # the tree itself, on PYTHONPATH
        raise CannotInstall("tierwise is not installed as a package: install it first.") from None
    origin: dict[str, Any] = json.loads(package.read_text("direct_url.json") or "{}")  # PEP 610
    if not origin:
        return f"tierwise=={package.version}"
    vcs: dict[str, str] = origin.get("vcs_info", {})
    return f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}" if vcs else str(origin["url"])


def entry(host: Host, command: Sequence[str], variables: Iterable[str]) -> Entry:
    """The entry that has `host` start `command`, and hand on the named variables where it is able to.

    It holds names of variables, never their values.
    """
    written: Entry = {**host.more, "command": command[0], "args": list(command[1:])}
    if host.reference and (named := sorted(variables)):
        written["env"] = {name: host.reference.format(name) for name in named}
    return written


def snippet(host: Host, name: str, server: Entry) -> Entry:
    """What a file of the host says that has this one server."""
    return {host.section: {name: server}}


def install_link(host: Host, name: str, server: Entry) -> str | None:
    """The link that has `host` ask its user whether to install the server; None where it knows none."""
    if host.link is None:
        return None
    if host.link.endswith(":mcp/install"):
        return f"{host.link}?{quote(json.dumps({'name': name, **server}), safe='')}"
    config = base64.b64encode(json.dumps(server).encode()).decode()
    return f"{host.link}?{urlencode({'name': name, 'config': config})}"
