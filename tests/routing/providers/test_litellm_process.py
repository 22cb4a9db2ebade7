"""What only a process of its own can show: what the import of litellm prints, sets and delays."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests import fake_provider
from tests.fake_provider import FakeProvider

pytestmark = pytest.mark.anyio

CALLS = """
import asyncio, sys
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.litellm import LiteLLMProvider
from tierwise.routing.request import Message, Payload

async def main():
    provider = LiteLLMProvider()
    provider.start_loading()
    for name in ("mine", "openai", "anthropic"):
        for model in ("good", "bad", "gpt-4o"):
            for on_text in (None, len):
                call = UpstreamCall(
                    provider=name,
                    model=model,
                    payload=Payload(messages=(Message("user", "hello"),)),
                    api_base=sys.argv[1],
                    api_key="k",
                    timeout=20,
                )
                try:
                    await provider.complete(call, on_text)
                except UpstreamError as error:
                    print(type(error).__name__, error, file=sys.stderr)
    await provider.aclose()

asyncio.run(main())
"""

LEAVE = """
import atexit
from tierwise.routing.providers.litellm import LiteLLMProvider, loading

LiteLLMProvider().start_loading()
atexit.register(lambda: print("loaded:", loading().done()))
"""

LOAD = """
import os
from tierwise.routing.providers.litellm import loading

loading().result()
print("planted:", os.environ.get("PLANTED"))
"""


PATHS = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)


async def run(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": PATHS, "LITELLM_LOG": "DEBUG", "LITELLM_MODE": "DEV"}
    with anyio.fail_after(120):
        command = [sys.executable, "-X", "dev", "-c", code, *arguments]
        return await anyio.run_process(command, env=environment, cwd=cwd)


async def test_nothing_reaches_stdout_and_nothing_is_left_open(fake: FakeProvider) -> None:
    fake.always("bad", fake_provider.status(500))
    ended = await run(CALLS, fake.url)
    assert ended.stdout == b""
    assert b"ServerFailed mine/bad" in ended.stderr
    assert b"Unclosed" not in ended.stderr
    assert b"Warning" not in ended.stderr
    assert b"hello" not in ended.stderr


async def test_the_process_can_end_while_litellm_is_still_loading() -> None:
    ended = await run(LEAVE)
    assert ended.returncode == 0
    assert ended.stdout.strip() == b"loaded: False"
    assert ended.stderr == b""


async def test_a_planted_env_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PLANTED=yes")
    ended = await run(LOAD, cwd=tmp_path)
    assert ended.stdout.strip() == b"planted: None"
