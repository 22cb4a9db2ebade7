"""`tierwise demo`: the main job, seen from a real MCP client on the other side of a pipe."""

import os
import sys
import tempfile
from pathlib import Path

import click
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel

from tierwise.server.commands.console import STDERR, dollars, write_answer, write_json
from tierwise.server.runtime import run
from tierwise.server.tools.chat import ChatResult
from tierwise.server.usage import UsageSummary

_PROMPTS = (
    "Hello!",
    "What is the capital of Italy?",
    "Explain how a hash table handles collisions.",
    "Design a fault-tolerant job queue that delivers each job exactly once across three regions.",
    "What is the capital of Italy?",
)
"""From easy to hard, and one again."""
_MAX_TOKENS = 160


def run_demo(config: Path | None, env_file: Path | None, *, as_json: bool) -> None:
    """Start a server as a host would, ask it five prompts and show what it says and what they cost."""
    with tempfile.TemporaryDirectory(prefix="tierwise-demo-") as data_dir:
        run(_demo, _server(config, env_file, data_dir), as_json)


def _server(config: Path | None, env_file: Path | None, data_dir: str) -> StdioServerParameters:
    options = ["--data-dir", data_dir]
    for flag, path in (("--config", config), ("--env-file", env_file)):
        options += [flag, str(path)] if path else []
    return StdioServerParameters(
        command=sys.executable, args=["-m", "tierwise.server.cli", *options], env=dict(os.environ)
    )


class _Shown(BaseModel):
    """What `--json` prints."""

    answers: list[ChatResult]
    usage: UsageSummary


async def _demo(parameters: StdioServerParameters, as_json: bool) -> None:
    shown: list[ChatResult] = []
    async with Client(stdio_client(parameters)) as client:
        for prompt in _PROMPTS:
            if not as_json:
                click.secho(f"\n> {prompt}", bold=True)
            with STDERR.status("Asking…"):
                answer = await client.call_tool("chat", {"prompt": prompt, "max_tokens": _MAX_TOKENS})
            shown.append(ChatResult.model_validate(_structured(answer)))
            if not as_json:
                _show(shown[-1])
        summary = UsageSummary.model_validate(
            _structured(await client.call_tool("usage_summary", {"days": 1}))
        )
    if as_json:
        write_json(_Shown(answers=shown, usage=summary))
    else:
        _show_summary(summary)


def _structured(result: CallToolResult) -> object:
    if result.is_error:
        raise click.ClickException(
            " ".join(part.text for part in result.content if isinstance(part, TextContent))
        )
    return result.structured_content


def _show(receipt: ChatResult) -> None:
    write_answer(receipt.content.strip())
    cost = "from the cache" if receipt.cached else dollars(receipt.cost_usd)
    spent = f"{receipt.total_tokens} tokens · {cost} · {receipt.latency_ms:.0f} ms"
    click.secho(f"  {receipt.tier} ({receipt.complexity_score:.2f}) → {receipt.model} · {spent}", dim=True)


def _show_summary(summary: UsageSummary) -> None:
    click.secho("\nUsage", bold=True)
    for name, used in summary.model_breakdown.items():
        click.echo(f"  {name}: {used.calls} calls, {used.tokens} tokens, {dollars(used.cost)}")
    click.echo(
        f"  {summary.total_calls} calls, {summary.cached_calls} from the cache,"
        f" {dollars(summary.total_cost_usd)} spent, {dollars(summary.saved_usd)} saved"
    )
