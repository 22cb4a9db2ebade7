"""The `tierwise` command. Bare, it serves MCP over stdio."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tierwise.server.cli_ledger import LEDGER_COMMANDS
from tierwise.storage.errors import TierwiseError

if TYPE_CHECKING:
    from tierwise.server.settings import Settings

# Everything else is imported by the command that needs it: a host waits for `tierwise` to start.


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the options before the command say."""

    config: Path | None
    env_file: Path | None
    data_dir: Path | None

    def load(self, **server: Any) -> tuple["Settings", Mapping[str, str]]:
        """The settings in force and the environment that they were read with.

        Raises:
            ConfigurationError: they cannot be read or do not fit.
        """
        import os

        from tierwise.server.configuration import load_env_file, load_settings
        from tierwise.server.runtime import log_to_stderr

        environ = load_env_file(self.env_file, os.environ) if self.env_file else dict(os.environ)
        overrides: dict[str, Any] = {
            "server": {key: value for key, value in server.items() if value is not None}
        }
        if self.data_dir:
            overrides["data_dir"] = str(self.data_dir)
        settings = load_settings(config=self.config, environ=environ, overrides=overrides)
        log_to_stderr(settings.server.log_level)
        return settings, environ


class _Group(click.Group):
    """Turns our own errors into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TierwiseError as error:
            _fail(error)


def _fail(error: TierwiseError) -> NoReturn:
    from tierwise.server.errors import ConfigurationError

    click.echo(f"Error: {error}", err=True)
    sys.exit(2 if isinstance(error, ConfigurationError) else 1)


_PATH = click.Path(path_type=Path)


@click.group(
    cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="tierwise")
@click.option("--config", type=_PATH, help="Settings file, TOML or JSON.")
@click.option("--env-file", type=_PATH, help="File of NAME=value lines to add to the environment.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path, resolve_path=True), help="Where the database lives."
)
@click.pass_context
def main(ctx: click.Context, config: Path | None, env_file: Path | None, data_dir: Path | None) -> None:
    """Send each prompt to the cheapest model that will answer it well.

    Without a command, tierwise serves MCP over stdio.
    """
    ctx.obj = Invocation(config, env_file, data_dir)
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve)


@main.command()
@click.option("--transport", type=click.Choice(["stdio", "http", "sse"]), default="stdio", show_default=True)
@click.option("--host", help="Address to listen on (http and sse).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False))
@click.pass_obj
def serve(
    invocation: Invocation,
    transport: str = "stdio",
    host: str | None = None,
    port: int | None = None,
    log_level: str | None = None,
) -> None:
    """Serve MCP over stdio, streamable HTTP (/mcp) or SSE (/sse)."""
    if transport == "stdio":
        from tierwise.server.transports.stdio import claim_standard_streams

        wire = claim_standard_streams()  # before anything that might print is imported
        from tierwise.server.serving import run_stdio

        run_stdio(wire, lambda: invocation.load(log_level=log_level))
        return
    from tierwise.server.serving import run_http

    run_http(transport, *invocation.load(host=host, port=port, log_level=log_level))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
@click.pass_obj
def demo(invocation: Invocation, as_json: bool) -> None:
    """Show the main job: prompts routed, answered, one from the cache, and what it came to."""
    from tierwise.server.commands.demo import run_demo

    run_demo(invocation.config, invocation.env_file, as_json=as_json)


@main.command()
@click.argument("prompt")
@click.option("--model", help="Alias, model or provider/model.")
@click.option("--tier", type=click.Choice(["simple", "standard", "complex"]))
@click.option("--max-tokens", type=click.IntRange(1))
@click.option("--temperature", type=click.FloatRange(0, 2))
@click.option("--system", "system_prompt", help="Instructions to the model.")
@click.option("--max-cost", "max_cost_usd", type=click.FloatRange(0), help="Worst-case cost in USD.")
@click.option("--no-cache", is_flag=True, help="Ask afresh, and replace the cached answer.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
@click.pass_obj
def chat(invocation: Invocation, prompt: str, no_cache: bool, as_json: bool, **options: Any) -> None:
    """Answer PROMPT ("-" reads it from stdin)."""
    from tierwise.server.commands.chat import run_chat

    text = sys.stdin.buffer.read().decode(errors="replace") if prompt == "-" else prompt
    run_chat(*invocation.load(), text, {**options, "use_cache": not no_cache}, as_json=as_json)


@main.command()
@click.argument("prompt", required=False)
@click.option(
    "--jsonl", is_flag=True, help='Read {"id","prompt","history"?} lines from stdin, write a line for each.'
)
@click.option("--json", "as_json", is_flag=True, help="Print the analysis as JSON.")
@click.pass_obj
def analyze(invocation: Invocation, prompt: str | None, jsonl: bool, as_json: bool) -> None:
    """Judge how hard PROMPT is, and show where it would go. Calls no model."""
    from tierwise.server.commands.analyze import run_analyze, run_jsonl

    settings, environ = invocation.load()
    if jsonl:
        sys.exit(run_jsonl(settings, sys.stdin.buffer, sys.stdout))
    if prompt is None:
        raise click.UsageError("Give a PROMPT, or --jsonl to read many from stdin.")
    run_analyze(settings, environ, prompt, as_json=as_json)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def models(invocation: Invocation, as_json: bool) -> None:
    """List the models that can be used."""
    from tierwise.server.commands.models import run_models

    run_models(*invocation.load(), as_json=as_json)


for command in LEDGER_COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
