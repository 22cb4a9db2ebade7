"""The `tierwise` command. Bare, it serves MCP over stdio."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tierwise.server.cli_hosts import HOST_COMMANDS
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

        from tierwise.server.configuration import load_settings
        from tierwise.server.logs import log_to_stderr, redactor

        log_to_stderr("WARNING", redactor(os.environ))
        environ = self.environment()
        overrides: dict[str, Any] = {
            "server": {key: value for key, value in server.items() if value is not None}
        }
        if self.data_dir:
            overrides["data_dir"] = str(self.data_dir)
        settings = load_settings(config=self.config, environ=environ, overrides=overrides)
        log_to_stderr(settings.server.log_level, redactor(environ, settings))
        return settings, environ

    def environment(self) -> dict[str, str]:
        """The environment of the process, which `env_file` completes, without what a host left unfilled.

        Raises:
            ConfigurationError: `env_file` cannot be read.
        """
        import os

        from tierwise.server.configuration import load_env_file, unfilled

        for variable in unfilled(os.environ):
            del os.environ[variable]
        environ = load_env_file(self.env_file, os.environ) if self.env_file else dict(os.environ)
        os.environ.update(environ)  # some providers need more than a key, which litellm reads there
        return environ

    def settings_file(self) -> Path | None:
        """The file that the settings are read from; None if there is none."""
        import os

        from tierwise.server.configuration import settings_file

        return settings_file(self.config, os.environ)


class _Group(click.Group):
    """Turns our own errors into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TierwiseError as error:
            _fail(error)


def _fail(error: TierwiseError) -> NoReturn:
    import os

    from tierwise.routing.errors import InvalidRequest
    from tierwise.server.errors import ConfigurationError
    from tierwise.server.logs import redactor
    from tierwise.server.plain import visible

    click.echo(visible(redactor(os.environ)(f"Error: {error}")), err=True)
    sys.exit(2 if isinstance(error, ConfigurationError | InvalidRequest) else 1)


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
@click.option("--toolset", type=click.Choice(["default", "full"]), help="Offer the usual tools, or all.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False))
@click.pass_obj
def serve(
    invocation: Invocation,
    transport: str = "stdio",
    host: str | None = None,
    port: int | None = None,
    toolset: str | None = None,
    log_level: str | None = None,
) -> None:
    """Serve MCP over stdio, streamable HTTP (/mcp) or SSE (/sse)."""
    if transport == "stdio":
        from tierwise.server.transports.stdio import claim_standard_streams

        wire = claim_standard_streams()  # before anything that might print is imported
        from tierwise.server.serving import run_stdio

        run_stdio(wire, lambda: invocation.load(toolset=toolset, log_level=log_level))
        return
    from tierwise.server.serving import run_http

    run_http(transport, *invocation.load(host=host, port=port, toolset=toolset, log_level=log_level))


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
@click.option("--tenant", help="On whose behalf, for reports and budgets.")
@click.option("--agent", help="Who asks, for reports and budgets.")
@click.option("--no-cache", is_flag=True, help="Ask afresh, and replace the cached answer.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
@click.pass_obj
def chat(invocation: Invocation, prompt: str, no_cache: bool, as_json: bool, **options: Any) -> None:
    """Answer PROMPT ("-" reads it from stdin)."""
    from tierwise.server.commands.chat import run_chat

    text = sys.stdin.buffer.read().decode(errors="replace") if prompt == "-" else prompt
    run_chat(*invocation.load(), text, {**options, "use_cache": not no_cache}, as_json=as_json)


@main.command()
@click.argument("source", metavar="IN.JSONL", type=_PATH)
@click.argument("out", metavar="OUT.JSONL", type=_PATH)
@click.option("--concurrency", type=click.IntRange(1, 1000), default=8, show_default=True)
@click.option("--max-cost", "max_cost_usd", type=click.FloatRange(0), help="USD for the whole batch.")
@click.pass_obj
def batch(
    invocation: Invocation, source: Path, out: Path, concurrency: int, max_cost_usd: float | None
) -> None:
    """Answer each line of IN.JSONL into OUT.JSONL, in order.

    A line has a prompt, and whatever else the chat tool takes; a custom_id comes back with its answer. Run
    again after a failure, Ctrl-C or a crash, it goes on where it was, and pays for no answer twice.
    """
    from tierwise.server.commands.batch import run_batch

    sys.exit(run_batch(*invocation.load(), source, out, concurrency=concurrency, max_cost_usd=max_cost_usd))


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


@main.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; default: a free one."
)
@click.option("--no-open", is_flag=True, help="Print the address, and open no browser.")
@click.pass_obj
def dashboard(invocation: Invocation, port: int, no_open: bool) -> None:
    """Show spend, savings, budgets and recent calls in the browser, as they come."""
    from tierwise.server.commands.dashboard import run_dashboard

    run_dashboard(*invocation.load(), port, opens=not no_open)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def doctor(invocation: Invocation, as_json: bool) -> None:
    """Look for what is wrong with this installation; exits with 1 if calls cannot be served."""
    from tierwise.server.commands.doctor import run_doctor

    sys.exit(run_doctor(invocation.load, invocation.settings_file, as_json=as_json))


@main.command()
@click.argument("file", type=_PATH)
@click.option("--reset", is_flag=True, help="Forget the outcomes there are first.")
@click.pass_obj
def tune(invocation: Invocation, file: Path, reset: bool) -> None:
    """Learn from FILE: JSON lines with a prompt and weak_ok and strong_ok, or tier, or verdict.

    Keeps no prompt text. A line that is not as it should be means that nothing is taken in.
    """
    from tierwise.server.commands.learning import run_tune

    run_tune(invocation.load()[0], file, reset=reset)


@main.command("eval")
@click.argument("file", type=_PATH, required=False)
@click.option("--from-outcomes", is_flag=True, help="Measure on the outcomes in the store.")
@click.option("--out", "pictures", type=_PATH, multiple=True, help="Write the curve to a .svg or .png file.")
@click.option("--saving", type=click.FloatRange(0, 1), help="Suggest a cut that spares this share.")
@click.option("--quality", type=click.FloatRange(0, 1), help="Suggest a cut that keeps this share.")
@click.pass_obj
def evaluate(
    invocation: Invocation,
    file: Path | None,
    from_outcomes: bool,
    pictures: tuple[Path, ...],
    saving: float | None,
    quality: float | None,
) -> None:
    """Measure how well prompts are routed, on a labelled FILE or on the outcomes of your calls."""
    from tierwise.server.commands.evaluate import run_eval

    if (file is None) != from_outcomes:
        raise click.UsageError("Give either a FILE or --from-outcomes.")
    run_eval(invocation.load()[0], file, pictures=pictures, saving=saving, quality=quality)


@main.group()
def outcomes() -> None:
    """What is known of how well calls turned out."""


@outcomes.command()
@click.pass_obj
def export(invocation: Invocation) -> None:
    """Write the outcomes as JSON lines, the newest first."""
    from tierwise.server.commands.learning import run_export

    run_export(invocation.load()[0])


@outcomes.command()
@click.pass_obj
def reset(invocation: Invocation) -> None:
    """Forget all outcomes, and what was learned from them."""
    from tierwise.server.commands.learning import run_reset

    run_reset(invocation.load()[0])


@main.group()
def budget() -> None:
    """Limit what may be spent."""


@budget.command("set")
@click.argument("name")
@click.option("--limit", "limit_usd", type=click.FloatRange(0), required=True, help="USD in a period.")
@click.option("--period", type=click.Choice(["day", "week", "month", "total"]), required=True)
@click.option("--scope", type=click.Choice(["overall", "tenant", "agent", "operation"]), default="overall")
@click.option("--value", default="", help="The tenant, agent or operation.")
@click.option(
    "--threshold", "thresholds", type=click.IntRange(1, 1000), multiple=True, help="Percent to tell of."
)
@click.option("--at-limit", type=click.Choice(["refuse", "downgrade", "warn"]), default="refuse")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def budget_set(invocation: Invocation, thresholds: tuple[int, ...], as_json: bool, **terms: Any) -> None:
    """Set the budget NAME, or put it in place of the one of that name."""
    from tierwise.server.commands.budget import run_set

    told = {"thresholds": thresholds} if thresholds else {}
    run_set(*invocation.load(), {**terms, **told}, as_json=as_json)


@budget.command("list")
@click.argument("scope", default="all")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def budget_list(invocation: Invocation, scope: str, as_json: bool) -> None:
    """Show what is spent and left; SCOPE is all, overall, tenant, agent, operation or tenant:NAME."""
    from tierwise.server.commands.budget import run_list

    run_list(*invocation.load(), scope, as_json=as_json)


@budget.command("remove")
@click.argument("name")
@click.pass_obj
def budget_remove(invocation: Invocation, name: str) -> None:
    """Remove the budget NAME."""
    from tierwise.server.commands.budget import run_remove

    run_remove(*invocation.load(), name)


for command in (*HOST_COMMANDS, *LEDGER_COMMANDS):
    main.add_command(command)


if __name__ == "__main__":
    main()
