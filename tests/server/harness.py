"""An installation of its own for each test: a settings file, a data folder, an environment."""

import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import Any, Literal

import anyio
import anyio.abc
import pytest
from aiohttp import web
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.lowlevel import Server
from mcp.shared.memory import MessageStream, create_client_server_memory_streams
from mcp_types import CallToolResult, TextContent

from tests.fake_provider import Exchange, ok
from tierwise.server.configuration import load_settings
from tierwise.server.mcp_server import open_server
from tierwise.server.runtime import open_runtime

Json = dict[str, Any]
Era = Literal["legacy", "auto"]

MARKS = [
    pytest.mark.anyio,
    # litellm silences these on import, which pytest undoes for each test: its types, its streams
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]
"""For modules whose tests call the fake provider from this process."""

KEY = "sk-test-Distinctive0123456789"
KEY_VARIABLE = "FAKE_API_KEY"
ERAS: tuple[Era, Era] = ("legacy", "auto")
VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
"""What each way to connect of the SDK's client negotiates."""

# Children import what this process imports, be it the tree or an installed wheel.
PATHS = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
COMMAND = (sys.executable, "-m", "tierwise.server.cli")

PRICES = {
    "fake/small": {"input": 1.0, "output": 2.0},
    "fake/standard": {"input": 10.0, "output": 20.0},
    "fake/large": {"input": 100.0, "output": 200.0},
}


def through(api_base: str) -> Json:
    """Settings that send every tier to the provider at `api_base`; `fake/unpriced` has no price."""
    provider = {"api_base": api_base, "api_key_env": KEY_VARIABLE, "models": {"nameless": "unpriced"}}
    return {
        "litellm": {"max_retries": 0, "retry_delay": 0, "timeout": 30, "providers": {"fake": provider}},
        "model_routing": {
            "rules": {
                "simple": {"model": "fake/small"},
                "standard": {"model": "fake/standard"},
                "complex": {"model": "fake/large"},
            }
        },
        "usage_tracking": {"pricing": PRICES, "time_zone": "UTC"},
        "local": {"servers": [], "embedded": False},
    }


def keyless() -> Json:
    """Settings under which `demo/…` answers."""
    return {"usage_tracking": {"time_zone": "UTC"}, "local": {"servers": [], "embedded": False}}


def merged(under: Json, over: Json) -> Json:
    both = {key: merged(under[key], over[key]) for key in over if isinstance(under.get(key), dict)}
    return {**under, **over, **both}


@asynccontextmanager
async def in_memory(server: Server[Any]) -> AsyncGenerator[MessageStream]:
    """A transport to `server` on which messages are framed as they are on a wire."""
    async with (
        create_client_server_memory_streams() as (client, (reader, writer)),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.run, reader, writer, server.create_initialization_options())
        yield client
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connect(server: Server[Any], mode: Era = "auto", **options: Any) -> AsyncGenerator[Client]:
    """A client of `server`, and 30 s for whatever is done with it."""
    with anyio.fail_after(30):
        async with Client(in_memory(server), mode=mode, **options) as client:
            yield client


@dataclass
class Installation:
    folder: Path
    settings: Json
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environ = {
            "HOME": str(self.folder),
            "TIERWISE_CONFIG": str(self.config),
            "TIERWISE_DATA_DIR": str(self.data),
            KEY_VARIABLE: KEY,
        }
        self.configure({})

    @property
    def config(self) -> Path:
        return self.folder / "settings.json"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def configure(self, changes: Json) -> None:
        """Lay `changes` over the settings file."""
        self.settings = merged(self.settings, changes)
        self.config.write_text(json.dumps(self.settings, indent=1))

    @asynccontextmanager
    async def server(self) -> AsyncGenerator[Server[Any]]:
        """The MCP server in this process."""
        settings = load_settings(config=None, environ=self.environ)
        async with open_runtime(settings, self.environ) as engine, open_server(engine, settings) as server:
            yield server

    @asynccontextmanager
    async def client(self, mode: Era = "auto", **options: Any) -> AsyncGenerator[Client]:
        """A client of a server in this process."""
        async with self.server() as server, connect(server, mode, **options) as client:
            yield client

    @property
    def variables(self) -> dict[str, str]:
        """The whole environment of a process."""
        return {"PATH": os.environ["PATH"], "PYTHONPATH": PATHS, **self.environ}

    def stdio(self, *arguments: str) -> StdioServerParameters:
        return StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *arguments], env=self.variables)

    async def run(self, *arguments: str, stdin: bytes = b"") -> CompletedProcess[bytes]:
        """Run `tierwise` to its end, within 60 s."""
        with anyio.fail_after(60):
            return await anyio.run_process(
                [*COMMAND, *arguments], input=stdin, env=self.variables, cwd=self.folder, check=False
            )

    @asynccontextmanager
    async def process(self, *arguments: str, command: Sequence[str] = COMMAND) -> AsyncGenerator["Process"]:
        """`tierwise` as a process whose lines are typed by hand; killed at the end if it still runs.
        Another `command` may change what it does."""
        log = self.folder / "stderr"
        async with AsyncExitStack() as stack:
            stderr = stack.enter_context(log.open("wb"))
            child = await stack.enter_async_context(
                await anyio.open_process(
                    [*command, *arguments], stdin=PIPE, stdout=PIPE, stderr=stderr, env=self.variables
                )
            )
            try:
                yield Process(child, log)
            finally:
                if child.returncode is None:
                    child.kill()

    async def ledger(self) -> Json:
        """Today's usage, read by a server that is started anew on the same data."""
        async with self.client() as client:
            return structured(await client.call_tool("today_usage"))

    def stored(self) -> bytes:
        """Everything in the data folder."""
        return b"".join(path.read_bytes() for path in sorted(self.data.rglob("*")) if path.is_file())


class Process:
    def __init__(self, child: anyio.abc.Process, log: Path) -> None:
        assert child.stdin
        assert child.stdout
        self.child = child
        self._stdin = child.stdin
        self._stdout = BufferedByteReceiveStream(child.stdout)
        self._log = log
        self.stdout = b""
        """What has been read of it."""

    @property
    def stderr(self) -> str:
        return self._log.read_text(errors="replace")

    async def send(self, *lines: bytes | Json) -> None:
        for line in lines:
            await self._stdin.send((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")

    async def write(self, *parts: bytes) -> None:
        """Bytes as they are, a part at a time."""
        for part in parts:
            await self._stdin.send(part)

    async def receive(self) -> Json:
        """The next line of stdout."""
        with anyio.fail_after(30):
            line = await self._stdout.receive_until(b"\n", 2**20)
        self.stdout += line + b"\n"
        return json.loads(line)

    async def read(self) -> bytes:
        """What comes next on stdout, be it a whole line or not."""
        with anyio.fail_after(30):
            return await self._stdout.receive()

    async def answer_to(self, number: int) -> Json:
        """The answer to the request of that id; what comes before it is passed over."""
        while (message := await self.receive()).get("id") != number:
            pass
        return message

    async def handshake(self) -> Json:
        await self.send(
            request(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=CLIENT)
        )
        answer = await self.answer_to(0)
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    async def close_stdin(self) -> None:
        await self._stdin.aclose()

    async def ended(self, within: float) -> int:
        """The exit code, once stdout has been read to its end."""
        with anyio.fail_after(within):
            try:
                while True:
                    self.stdout += await self._stdout.receive()
            except anyio.EndOfStream:
                return await self.child.wait()

    async def logged(self, text: str) -> str:
        """The first line of stderr that holds `text`, once it is there."""
        with anyio.fail_after(30):
            while True:
                for line in self.stderr.splitlines(keepends=True):
                    if text in line and line.endswith("\n"):
                        return line.strip()
                await anyio.sleep(0.02)


CLIENT = {"name": "by hand", "version": "1"}


def request(number: int, method: str, **params: Any) -> Json:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: int, tool: str, **arguments: Any) -> Json:
    return request(number, "tools/call", name=tool, arguments=arguments)


def structured(result: CallToolResult) -> Json:
    assert not result.is_error, text(result)
    content: Json | None = result.structured_content
    assert content is not None
    return content


def text(result: CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def refusal(result: CallToolResult) -> str:
    """What an answer says that is an error."""
    assert result.is_error
    return text(result)


async def chat(client: Client, prompt: str = "Hello", **arguments: Any) -> Json:
    return structured(await client.call_tool("chat", {"prompt": prompt, **arguments}))


class Hanging:
    """A behaviour of the fake provider: write the pieces, and "the end" only when it is released."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces
        self.arrived = anyio.Event()
        self.released = anyio.Event()
        self.left = anyio.Event()
        """The client went away before the end."""

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        written = self._pieces if exchange.streams else ()
        for piece in written:
            await exchange.delta(piece)
        self.arrived.set()
        try:
            await self.released.wait()
        except anyio.get_cancelled_exc_class():
            self.left.set()
            raise
        rest = (*self._pieces[len(written) :], "the end")
        return await ok(pieces=rest)(exchange)
