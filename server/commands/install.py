"""`tierwise install`, `tierwise uninstall` and `tierwise config`."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from tierwise.routing.keys import PROVIDER_KEY_VARIABLES
from tierwise.server.commands.console import note, write_table
from tierwise.server.configuration import CONFIG_VARIABLE
from tierwise.server.errors import CannotInstall, UnusableFile
from tierwise.server.hosts.entry import Entry, entry, install_link, launch, snippet
from tierwise.server.hosts.file import HostFile, read
from tierwise.server.hosts.known import HOSTS, Host, System
from tierwise.server.logs import redactor
from tierwise.server.plain import visible, visible_json
from tierwise.server.settings import named_variables

if TYPE_CHECKING:
    from tierwise.server.cli import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a change to hosts' files."""

    name: str = "tierwise"
    """Under which the server stands there."""
    file: Path | None = None
    """In place of the host's usual one."""
    dry_run: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """What hosts are to start."""

    command: tuple[str, ...]
    variables: frozenset[str]
    """The environment variables with keys that are set now, and not in a file of their own."""
    env_file: Path | None


def this_server(invocation: "Invocation") -> Server:
    """This tierwise, with the settings that it runs with now.

    Raises:
        ConfigurationError: a host would not be able to start it with these settings.
        CannotInstall: see `launch`.
    """
    shell = dict(os.environ)
    settings, _ = invocation.load()
    named = {
        "--config": invocation.config or shell.get(CONFIG_VARIABLE),
        "--env-file": invocation.env_file,
        "--data-dir": invocation.data_dir or shell.get("TIERWISE_DATA_DIR"),
    }
    options = [part for option, path in named.items() if path for part in (option, _full(path))]
    keys = {name for name in PROVIDER_KEY_VARIABLES | named_variables(settings) if shell.get(name)}
    return Server((*launch(), *options), frozenset(keys), invocation.env_file)


def _full(path: Path | str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100  `resolve` would follow links, which may move


def run_install(invocation: "Invocation", names: Sequence[str], options: Options) -> int:
    """Have each host start this tierwise; 1 if one of them could not be told to."""
    server = this_server(invocation)
    return _each(names, lambda host: _install(host, server, options))


def run_uninstall(names: Sequence[str], options: Options) -> int:
    """Take the server out of each host's file; 1 if one could not be changed."""
    return _each(names, lambda host: _uninstall(host, options))


def run_config(invocation: "Invocation", name: str) -> None:
    """Write what a host's file is to say to stdout, and where that file is to stderr.

    Raises:
        TierwiseError: as `this_server`, or there is no home folder.
    """
    host, server = HOSTS[name], this_server(invocation)
    written = entry(host, server.command, server.variables)
    click.echo(_json(snippet(host, Options().name, written)))
    note(f"For {host.file(this_system())}; `tierwise install {name}` puts it there.")
    _note_link_and_keys(host, server, Options().name, written)


def run_list() -> None:
    """Show which hosts are on this machine, and which of them start tierwise."""
    rows = [[host.name, *_standing(host)] for host in HOSTS.values()]
    write_table(["host", "", "its file"], rows)
    note("`tierwise install HOST …` adds tierwise, --dry-run shows the change first.")


def found_hosts() -> list[Host]:
    """The hosts on this machine; none where there is no home folder."""
    try:
        return [host for host in HOSTS.values() if host.found(this_system())]
    except CannotInstall:
        return []


def this_system() -> System:
    """The one that this process runs on."""
    return System(sys.platform, os.environ)


def _standing(host: Host) -> tuple[str, str]:
    path = host.file(this_system())
    if not host.found(this_system()):
        return "not found", str(path)
    try:
        installed = _is_ours(read(host, path).servers().get(Options().name))
    except CannotInstall as error:
        return str(error), str(path)
    return "installed" if installed else "found", str(path)


def _each(names: Sequence[str], change: Callable[[Host], None]) -> int:
    failed = 0
    for name in dict.fromkeys(names):
        try:
            change(HOSTS[name])
        except (CannotInstall, UnusableFile) as error:
            failed = 1
            click.echo(visible(redactor(os.environ)(f"Error: {error}")), err=True)
    return failed


def _install(host: Host, server: Server, options: Options) -> None:
    file = _open(host, options)
    written = entry(host, server.command, server.variables)
    there = file.servers().get(options.name)
    if there is not None and not _is_ours(there):
        if not options.force:
            raise CannotInstall(
                f"{file.path} has another server called {options.name}. Give this one a --name of its own, or"
                " put it in the other's place with --force; nothing was changed."
            )
        text = file.without_server(options.name)
        file_text = HostFile(host, file.path, text.encode()).with_server(options.name, written)
    else:
        kept: Mapping[str, Any] = there or {}
        # What the user wrote for a variable stays.
        merged = {**written, "env": {**written.get("env", {}), **kept.get("env", {})}}
        file_text = file.with_server(options.name, merged if merged["env"] else written)
    if file_text == file.text and file.data is not None:
        _say(f"{host.title} starts it already: {file.path} needs no change.")
    else:
        _change(file, file_text, options, f"{host.title} starts tierwise from now on, once it is restarted")
    _note_link_and_keys(host, server, options.name, written)


def _uninstall(host: Host, options: Options) -> None:
    file = _open(host, options)
    there = file.servers().get(options.name)
    if there is None:
        _say(f"{host.title} has no server called {options.name}: {file.path} needs no change.")
        return
    if not _is_ours(there) and not options.force:
        raise CannotInstall(
            f"The server called {options.name} in {file.path} is not tierwise. Remove it with --force if you"
            " mean that one; nothing was changed."
        )
    _change(file, file.without_server(options.name), options, f"{host.title} starts tierwise no longer")


def _open(host: Host, options: Options) -> HostFile:
    system = this_system()
    if options.file is None and not options.force and not host.found(system):
        raise CannotInstall(
            f"{host.title} is not on this machine: there is no {host.file(system).parent}. Start it once,"
            " name its file with --file, or make the file anyway with --force."
        )
    return read(host, options.file or host.file(system))


def _is_ours(server: object) -> bool:
    if not isinstance(server, dict):
        return False
    there = cast("Entry", server)
    arguments: Any = there.get("args")
    words = [there.get("command"), *(cast("list[Any]", arguments) if isinstance(arguments, list) else [])]
    return any("tierwise" in word for word in words if isinstance(word, str))


def _change(file: HostFile, text: str, options: Options, done: str) -> None:
    if options.dry_run:
        _say(redactor(os.environ)(file.difference(text)))
        return
    backup = file.write(text)
    was = f"; what it was is in {backup.name}" if backup else ""
    _say(f"{done}: {file.path}{was}.")


def _note_link_and_keys(host: Host, server: Server, name: str, written: Entry) -> None:
    if link := install_link(host, name, written):
        click.echo(f"As a link: {link}", err=True)
    for line in _about_keys(host, server):
        note(line)


def _about_keys(host: Host, server: Server) -> Iterable[str]:
    """How the server gets its keys, which no host's file should hold."""
    if server.env_file:
        yield f"Keys are read from {server.env_file}."
        return
    by_file = (
        "write them as NAME=value lines into a file that only you can read, and run"
        f" `tierwise --env-file FILE install {host.name}`."
    )
    if not host.passes_on:
        yield f"{host.title} may not hand your environment's variables on. To give it keys, {by_file}"
    elif server.variables:
        names = ", ".join(sorted(server.variables))
        yield f"{names}: {host.title} must have them in its own environment when it starts. Else {by_file}"
    else:
        yield f"No provider's key is set here. To give {host.title} keys, {by_file}"


def _say(text: str) -> None:
    click.echo(visible(text))


def _json(tree: Entry) -> str:
    return visible_json(json.dumps(tree, indent=2, ensure_ascii=False))
