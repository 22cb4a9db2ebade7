"""`tierwise init`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.catalog.inventory import Inventory
from tierwise.routing.catalog.local import LocalServer, find_local_servers
from tierwise.routing.catalog.models import Model
from tierwise.routing.keys import PROVIDER_KEY_VARIABLES
from tierwise.routing.request import Tier
from tierwise.server.commands.console import note, write_table
from tierwise.server.commands.install import Options, found_hosts, run_install, this_system
from tierwise.server.configuration import CONFIG_VARIABLE, load_settings, usual_file
from tierwise.server.errors import UnusableFile
from tierwise.server.files import back_up, make_folder, replacing
from tierwise.server.first_settings import Choices, first_settings
from tierwise.server.plain import visible
from tierwise.server.runtime import run
from tierwise.server.settings import Settings

if TYPE_CHECKING:
    from tierwise.server.cli import Invocation


def run_init(invocation: "Invocation", *, yes: bool, force: bool, hosts: Sequence[str]) -> int:
    """Write the settings file and show what it comes to; 1 if a host could not be installed into.

    Asks three questions at most, and none with `yes`.

    Raises:
        UnusableFile: there is such a file already, or it cannot be written.
        CannotInstall: no file is named, and there is no home folder.
        TierwiseError: what the environment sets does not fit.
    """
    path = _target(invocation, force=force)
    environ = invocation.environment()
    blank = _with_text("", environ)
    catalog, servers = run(_look_around, blank, environ)
    _tell_what_is_found(environ, servers)
    try:
        choices = Choices() if yes else _ask(catalog, servers)
        text = first_settings(catalog, choices)
        settings = _with_text(text, environ)  # before it is there for others to stumble over
        _write(path, text)
        _show(run(_catalog, settings, environ))
        chosen = hosts or _hosts_to_install(yes=yes)
    except click.Abort:
        note("\nNo answer, so init stops here. `tierwise init --yes` asks nothing.")
        return 1
    return (
        run_install(replace(invocation, config=_named(invocation, path)), chosen, Options()) if chosen else 0
    )


def _target(invocation: "Invocation", *, force: bool) -> Path:
    named = invocation.config or os.environ.get(CONFIG_VARIABLE)
    if not named:
        this_system().applications()  # raises where a folder would be made for a user who has none
    path = (Path(named).expanduser() if named else usual_file()).absolute()
    if path.suffix.lower() == ".json":
        raise UnusableFile(
            f"init writes TOML, and {path} would be read as JSON. Name a file that ends in .toml."
        )
    if os.path.lexists(path) and not force:
        raise UnusableFile(
            f"{path} is there already, and was left as it is. Edit it, or write a new one with --force, which"
            " keeps the old one beside it."
        )
    return path


def _named(invocation: "Invocation", path: Path) -> Path | None:
    """What hosts must be told of the file; nothing if they find it where it usually is."""
    return path if invocation.config or os.environ.get(CONFIG_VARIABLE) else None


def _with_text(text: str, environ: Mapping[str, str]) -> Settings:
    """The settings in force if the file said `text`; raises `ConfigurationError`."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tierwise.toml"
        file.write_text(text, encoding="utf-8")
        return load_settings(config=file, environ=environ)


async def _look_around(settings: Settings, environ: Mapping[str, str]) -> tuple[Catalog, list[LocalServer]]:
    servers = await find_local_servers(settings.local.servers)
    return await _catalog(settings, environ), list(servers)


async def _catalog(settings: Settings, environ: Mapping[str, str]) -> Catalog:
    inventory = Inventory(
        litellm=settings.litellm,
        routing=settings.model_routing,
        pricing=settings.usage_tracking.pricing,
        local=settings.local,
        environ=environ,
    )
    return await inventory.catalog()


def _tell_what_is_found(environ: Mapping[str, str], servers: Sequence[LocalServer]) -> None:
    keys = sorted(name for name in PROVIDER_KEY_VARIABLES if environ.get(name))
    _say(f"Keys: {', '.join(keys) or 'none is set'}.")
    for server in servers:
        _say(f"Local models: {server.name} at {server.base_url} has {', '.join(server.models)}.")
    if not servers:
        _say("Local models: no server on the usual ports.")


def _ask(catalog: Catalog, servers: Sequence[LocalServer]) -> Choices:
    local = None
    if servers and any(model.key_variable for models in catalog.tiers.values() for model in models):
        smallest = servers[0].models[0]
        if click.confirm(visible(f"Let {smallest} on this machine answer simple prompts first?"), err=True):
            local = servers[0]
    limit = click.prompt(
        "The most to spend in a month, in USD (empty: no limit)",
        default="",
        show_default=False,
        value_proc=_amount,
        err=True,
    )
    return Choices(local, limit)


def _amount(answer: str) -> float | None:
    if not answer.strip():
        return None
    try:
        amount = float(answer.strip().removeprefix("$"))
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= 1e9:
        raise click.UsageError("write an amount such as 25 or 7.50, or nothing")
    return amount


def _write(path: Path, text: str) -> None:
    target = path.resolve()
    make_folder(target.parent)
    if target.exists():
        try:
            kept = back_up(target, target.read_bytes())
        except OSError as error:
            raise UnusableFile(
                f"{target} cannot be read: {error.strerror}. Move it out of the way."
            ) from None
        _say(f"The old settings are in {kept}.")
    with replacing(target, "Make its folder writable, or name another with --config.") as file:
        file.write(text.encode())
    _say(f"Wrote {path}.")


def _show(catalog: Catalog) -> None:
    rows = [
        [str(tier) if model is models[0] else "", f"{model.provider}/{model.name}", *_prices(model)]
        for tier in Tier
        if (models := catalog.tiers[tier])
        for model in models
    ]
    write_table(["tier", "model", "$/M in", "$/M out"], rows, right=("$/M in", "$/M out"))
    note(f"Tiers from {catalog.source}. `tierwise doctor` looks whether all of it works.")


def _prices(model: Model) -> tuple[str, str]:
    if model.price is None:
        return "unknown", "unknown"
    rates = model.price.rates
    return f"{rates.input / 1e6:g}", f"{rates.output / 1e6:g}"


def _hosts_to_install(*, yes: bool) -> list[str]:
    found = found_hosts()
    if not found:
        return []
    names = [host.name for host in found]
    titles = ", ".join(host.title for host in found)
    if not yes and click.confirm(f"Have {titles} start tierwise?", err=True):
        return names
    note(f"`tierwise install {' '.join(names)}` has {titles} start tierwise.")
    return []


def _say(text: str) -> None:
    click.echo(visible(text))
