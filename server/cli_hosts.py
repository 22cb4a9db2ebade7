"""The commands of `tierwise` that set it up: settings, and the hosts that start it."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tierwise.server.hosts.known import HOSTS

if TYPE_CHECKING:
    from tierwise.server.cli import Invocation

# As in `cli`, what a command needs is imported when it runs.

_NAMES = click.Choice(list(HOSTS))
_LISTED = f"A HOST is one of {', '.join(HOSTS)}."
_FILE = click.Path(path_type=Path, dir_okay=False)

Command = Callable[..., None]


def _server_name(_: click.Context, __: click.Parameter, name: str) -> str:
    """Claude's hosts take no other names (the pattern is that of their tools' names)."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise click.BadParameter("up to 64 letters, digits, - and _ make a name.")
    return name


def _changes(command: Command) -> Command:
    """Options of a change to hosts' files; for `Options`."""
    for option in (
        click.option("--force", is_flag=True, help="Go on where it would be refused; see what it says."),
        click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing."),
        click.option(
            "--name",
            default="tierwise",
            show_default=True,
            callback=_server_name,
            help="The server's name in the file.",
        ),
        click.option("--file", type=_FILE, help="The host's file, if it is not where it usually is."),
    ):
        command = option(command)
    return command


def _one_file(hosts: tuple[str, ...], file: Path | None) -> None:
    if file and len(hosts) != 1:
        raise click.UsageError("--file is the file of one host: name that one.")


@click.command(epilog=_LISTED)
@click.option("--yes", is_flag=True, help="Ask nothing: no budget, no local model beside those with keys.")
@click.option("--force", is_flag=True, help="Replace the settings file; the old one is kept beside it.")
@click.option(
    "--install", "hosts", type=_NAMES, metavar="HOST", multiple=True, help="Install into this host as well."
)
@click.pass_obj
def init(invocation: "Invocation", *, yes: bool, force: bool, hosts: tuple[str, ...]) -> None:
    """Write a first settings file, from the keys and local model servers that are found.

    It is tierwise.toml in your config folder, or the file that --config names. Shows the models of each tier
    with their prices, and offers to install tierwise into the hosts on this machine.
    """
    from tierwise.server.commands.init import run_init

    sys.exit(run_init(invocation, yes=yes, force=force, hosts=hosts))


@click.command(epilog=_LISTED)
@click.argument("hosts", nargs=-1, type=_NAMES, metavar="[HOST]...")
@_changes
@click.pass_obj
def install(invocation: "Invocation", hosts: tuple[str, ...], **options: Any) -> None:
    """Have each HOST start tierwise; without any, show which there are.

    The host's own file gets one more server. Comments and other servers stay, the file as it was is kept
    beside it. Options before the command (--config, --env-file, --data-dir) are what the host starts it with.
    """
    from tierwise.server.commands.install import Options, run_install, run_list

    _one_file(hosts, options["file"])
    if not hosts:
        run_list()
        return
    sys.exit(run_install(invocation, hosts, Options(**options)))


@click.command(epilog=_LISTED)
@click.argument("hosts", nargs=-1, type=_NAMES, required=True, metavar="HOST...")
@_changes
def uninstall(hosts: tuple[str, ...], **options: Any) -> None:
    """Take tierwise out of the file of each HOST."""
    from tierwise.server.commands.install import Options, run_uninstall

    _one_file(hosts, options["file"])
    sys.exit(run_uninstall(hosts, Options(**options)))


@click.command(epilog=_LISTED)
@click.argument("host", type=_NAMES, metavar="HOST")
@click.pass_obj
def config(invocation: "Invocation", host: str) -> None:
    """Print what the file of HOST is to say, to be put there by hand."""
    from tierwise.server.commands.install import run_config

    run_config(invocation, host)


HOST_COMMANDS = (init, install, uninstall, config)
