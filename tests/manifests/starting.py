"""Starting tierwise the way a manifest says."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.manifests.starts import Start
from tests.server.harness import PATHS


@contextmanager
def said_on_failure(log: Path) -> Generator[None]:
    """Adds what the process said to the error that it caused."""
    try:
        yield
    except Exception as error:
        error.add_note(log.read_text(errors="replace"))
        raise


async def answers(start: Start, path: list[str], home: Path, patience: float) -> None:
    """A client gets along with what is started, within `patience` seconds."""
    environ = {
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "PYTHONPATH": PATHS,
        "TIERWISE_DATA_DIR": str(home / "data"),
        "TIERWISE_LOCAL__SERVERS": "[]",
        "TIERWISE_LOCAL__EMBEDDED": "false",
        **start.env,
    }
    parameters = StdioServerParameters(command=start.command, args=start.args, env=environ, cwd=home)
    log_file = home / "stderr"
    with anyio.fail_after(patience), log_file.open("w") as log, said_on_failure(log_file):
        async with Client(stdio_client(parameters, log)) as client:
            assert client.server_info
            assert client.server_info.name == "tierwise"
            tools = await client.list_tools()
            assert "chat" in {tool.name for tool in tools.tools}
            answer = await client.call_tool("list_models", {})
            assert answer.structured_content
            assert {item["provider"] for item in answer.structured_content["models"]} == {"demo"}
