"""What a newcomer does first, with the installed package and nothing but its documented surface.

CI runs these alone against the wheel, in an environment of its own: `pytest -m smoke`.
"""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.streams.text import TextReceiveStream
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import tierwise

pytestmark = [pytest.mark.anyio, pytest.mark.smoke]

TIERWISE = str(Path(sys.executable).with_name("tierwise"))
PATIENCE = 60  # seconds, on a loaded machine

Run = Callable[..., str]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No key, no local server, no embedded model: what is left is `demo/` models."""
    return {
        "HOME": str(tmp_path),
        "TIERWISE_DATA_DIR": str(tmp_path / "data"),
        "TIERWISE_LOCAL__SERVERS": "[]",
        "TIERWISE_LOCAL__EMBEDDED": "false",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Runs `tierwise` with these arguments and hands back what it prints."""

    def run(*arguments: str, stdin: str = "") -> str:
        return subprocess.run(  # noqa: S603  our own command
            [TIERWISE, *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout

    return run


def test_the_command_tells_the_version_of_the_package(run: Run) -> None:
    assert version("tierwise") in run("--version")


def test_the_package_is_marked_as_typed() -> None:
    assert files("tierwise").joinpath("py.typed").is_file()


def test_the_example_of_the_library_runs(environment: dict[str, str]) -> None:
    lines = (tierwise.__doc__ or "").splitlines()
    example = "\n".join(line for line in lines if line.startswith("    ") or not line)
    shown = subprocess.run(  # noqa: S603  our own example
        [sys.executable, "-c", textwrap.dedent(example)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    ).stdout
    assert "demo/small" in shown
    assert "complex ['demo/large']" in shown
    assert shown.splitlines()[-1] == "2 0.0"


def test_a_chat_on_the_command_line_is_in_the_usage_report(run: Run) -> None:
    receipt = json.loads(run("chat", "What is the capital of France?", "--json"))
    usage = json.loads(run("usage", "--json"))
    assert receipt["model"] == "demo/small"
    assert usage["total_tokens"] == receipt["total_tokens"]


def test_each_line_of_jsonl_gets_a_line_in_order(run: Run) -> None:
    lines = run("analyze", "--jsonl", stdin='{"id": 1, "prompt": "Hello"}\n{"id": 2, "prompt": "Hi"}\n')
    assert [json.loads(line)["id"] for line in lines.splitlines()] == [1, 2]


async def test_a_host_gets_a_receipt_and_the_second_time_the_cached_answer(
    environment: dict[str, str],
) -> None:
    server = StdioServerParameters(command=TIERWISE, env=environment)
    with anyio.fail_after(PATIENCE):
        async with Client(stdio_client(server)) as client:
            first, second = [await call(client, "chat", prompt="Hello") for _ in range(2)]
            usage = await call(client, "usage_summary")
    assert (first["model"], first["cached"]) == ("demo/small", False)
    assert (second["content"], second["cached"]) == (first["content"], True)
    assert usage["total_calls"] == 2


async def test_the_server_answers_over_http(environment: dict[str, str]) -> None:
    command = [TIERWISE, "serve", "--transport", "http", "--port", "0"]
    with anyio.fail_after(PATIENCE):
        async with await anyio.open_process(command, env=environment, stdout=None) as server:
            url = await announced_url(server)
            async with Client(url) as client:
                analysis = await call(client, "analyze_complexity", prompt="Hello")
            async with httpx.AsyncClient() as web:
                health = await web.get(url.replace("/mcp", "/healthz"))
            server.terminate()
            await server.wait()
    assert analysis["tier"] == "simple"
    assert health.is_success


async def announced_url(server: anyio.abc.Process) -> str:
    assert server.stderr is not None
    told = ""
    async for text in TextReceiveStream(server.stderr):
        told += text
        if "/mcp\n" in told:
            return told.split()[-1]
    raise AssertionError(f"The server ended: {told}")


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content
