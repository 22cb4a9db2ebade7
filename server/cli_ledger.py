"""The commands of `tierwise` that read and tend the ledger."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tierwise.server.cli import Invocation

# As in `cli`, what a command needs is imported when it runs.

_ATTRIBUTES = "provider, model, tier, operation, tenant, agent or metadata.KEY"
_FILE = click.Path(path_type=Path, dir_okay=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")

Command = Callable[..., None]


def _period(command: Command) -> Command:
    """Options that say which days are meant; for `PeriodArguments`."""
    for option in (
        click.option("--end", metavar="DATE", help="Last day, such as 2026-11-30; default: today."),
        click.option("--start", metavar="DATE", help="First day, in place of --days."),
        click.option("--days", type=click.IntRange(1, 3660), help="Days up to --end; default: 30."),
    ):
        command = option(command)
    return command


def _filters(command: Command) -> Command:
    """An option for `SummaryArguments.filters`."""
    return click.option(
        "--filter",
        "filters",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_pairs,
        help=f"Take only calls with this {_ATTRIBUTES}. Can be given more than once.",
    )(command)


def _pairs(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE, such as tenant=acme.")
        if name in pairs:
            raise click.BadParameter(f"{name!r} can have one value only.")
        pairs[name] = value
    return pairs


def _given(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if options[name] is not None}


@click.command()
@_period
@click.option("--group-by", metavar="NAME", help=f"Show a row for each day, {_ATTRIBUTES}; default: model.")
@_filters
@click.option("--compared-to", metavar="MODEL", help="Show what the same tokens cost on this model.")
@click.option("--watch", is_flag=True, help="Stay, and show new calls as they come.")
@_JSON
@click.pass_obj
def usage(
    invocation: "Invocation", compared_to: str | None, watch: bool, as_json: bool, **options: Any
) -> None:
    """Show calls, tokens, cost and savings."""
    from tierwise.server.commands.console import STDOUT
    from tierwise.server.commands.usage import run_usage

    if watch and (as_json or not STDOUT.is_terminal):
        raise click.UsageError("--watch draws in a terminal: leave out --json, and do not redirect it.")
    arguments = _given(options, "days", "start", "end", "group_by", "filters")
    run_usage(*invocation.load(), arguments, compared_to, watch=watch, as_json=as_json)


@click.command()
@click.option("--format", type=click.Choice(["csv", "json", "jsonl", "parquet"]), default="csv")
@_period
@_filters
@click.option("--aggregate", metavar="NAME", help=f"Write sums by day, {_ATTRIBUTES} in place of calls.")
@click.option("-o", "--output", type=_FILE, help="File to write; default: stdout.")
@click.pass_obj
def export(
    invocation: "Invocation", format: str, aggregate: str | None, output: Path | None, **options: Any
) -> None:
    """Write calls, or sums of them, as CSV, JSON, JSON Lines or Parquet."""
    from tierwise.server.commands.export import run_export

    if format == "parquet" and output is None:
        raise click.UsageError("Parquet is no text: name a file with -o.")
    arguments = {**_given(options, "days", "start", "end", "filters"), "group_by": aggregate}
    settings, _ = invocation.load()
    run_export(settings, arguments, format, output)


@click.command("import")
@click.argument("file", type=_FILE)
@click.pass_obj
def import_(invocation: "Invocation", file: Path) -> None:
    """Take over FILE, the JSON usage file of an earlier LiteLLM client (State/usage.json), once."""
    from tierwise.server.commands.import_ import run_import

    run_import(*invocation.load(), file)


@click.command()
@click.option("--since", metavar="DATE", required=True, help="First day, such as 2026-11-01.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.pass_obj
def reprice(invocation: "Invocation", since: str, dry_run: bool) -> None:
    """Reckon the costs of recorded calls anew, from their tokens at the prices of today."""
    from tierwise.server.commands.reprice import run_reprice

    run_reprice(*invocation.load(), since, dry_run=dry_run)


@click.command()
@click.option("--keep-days", type=click.IntRange(1, 3660), required=True, help="Days of calls to keep.")
@click.pass_obj
def prune(invocation: "Invocation", keep_days: int) -> None:
    """Delete the calls of older days, and give their room back to the disk; their sums stay."""
    from tierwise.server.commands.upkeep import run_prune

    settings, _ = invocation.load()
    run_prune(settings, keep_days)


@click.command()
@click.option("--repair", is_flag=True, help="Put right what follows from the rest.")
@click.pass_obj
def check(invocation: "Invocation", repair: bool) -> None:
    """Prove that the database is sound: whole, with sums and budgets that are those of the calls.

    Prints a line for each fault, and exits with 1 if there is one at the end.
    """
    from tierwise.server.commands.upkeep import run_check

    settings, _ = invocation.load()
    raise SystemExit(run_check(settings, repair=repair))


LEDGER_COMMANDS = (usage, export, import_, reprice, prune, check)
