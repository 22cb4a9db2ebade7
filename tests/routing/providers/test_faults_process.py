"""What only a process of its own can show: the memory that a flood takes, and what gets onto stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.fake_provider import Behaviour, FakeProvider, faults, ok
from tests.routing.providers.wires import WIRES
from tierwise.routing.providers.containment import MAX_ANSWER_BYTES

pytestmark = pytest.mark.anyio

FLOODS: dict[str, tuple[Behaviour, set[str]]] = {
    "huge": (faults.huge(500), {"UnsafeResponse"}),
    "announced": (faults.huge(500, announced=True), {"UnsafeResponse"}),
    "failure": (faults.huge_error(500), {"ServerFailed"}),
    "bomb": (faults.bomb("gzip"), {"UnsafeResponse"}),
    "long-events": (faults.endless_stream(), {"UnsafeResponse"}),
    "short-events": (faults.endless_stream(words=0), {"UnsafeResponse"}),
    "lines": (faults.endless_event(), {"UnsafeResponse"}),
    "line": (faults.endless_event(b""), {"UnsafeResponse"}),
    "headers": (faults.endless_headers(), {"BadResponse"}),
}
"""What comes back, and how that ends unless time runs out first."""
BOUND = MAX_ANSWER_BYTES + 64 * 2**20
"""Bytes: an answer may be read up to its limit before it is refused; the rest is room for Python's heap."""

CALLS = """
import asyncio, json, resource, sys
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.litellm import LiteLLMProvider
from tierwise.routing.request import Message, Payload

async def ask(provider, wire, model, on_text):
    payload = Payload(messages=(Message("user", "hello"),))
    call = UpstreamCall(payload=payload, api_key="k" * 20, timeout=2, model=model, **wire)
    try:
        await provider.complete(call, on_text)
    except UpstreamError as error:
        return type(error).__name__
    return "answered"

async def main():
    wires, models = json.loads(sys.argv[1]), sys.argv[2:]
    provider = LiteLLMProvider()
    rounds = [(wire, on_text) for wire in wires for on_text in (None, len)]
    for wire, on_text in rounds:
        for model in ("good", "bad"):
            await ask(provider, wire, model, on_text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for model in models:
        ends = [await ask(provider, wire, model, on_text) for wire, on_text in rounds]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"model": model, "ends": ends, "growth": (peak - before) * 1024}), flush=True)
    await provider.aclose()

asyncio.run(main())
"""

PATHS = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)


async def run(fake: FakeProvider, *models: str) -> subprocess.CompletedProcess[bytes]:
    wires = json.dumps([{"provider": wire.provider, "api_base": wire.base(fake)} for wire in WIRES.values()])
    with anyio.fail_after(300):
        command = [sys.executable, "-c", CALLS, wires, *models]
        return await anyio.run_process(command, env={**os.environ, "PYTHONPATH": PATHS})


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KB only there")
async def test_memory_stays_flat_while_floods_are_refused(fake: FakeProvider) -> None:
    fake.always("bad", faults.holding(None))
    for model, (flood, _) in FLOODS.items():
        fake.always(model, flood)
    ended = await run(fake, *FLOODS)
    reports = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [report["model"] for report in reports] == list(FLOODS)
    for report in reports:
        _, ends = FLOODS[report["model"]]
        assert set(report["ends"]) <= {*ends, "UpstreamTimeout"}
        assert report["growth"] < BOUND, report


async def test_nothing_of_a_broken_answer_gets_onto_stderr(fake: FakeProvider) -> None:
    fake.always("good", ok(content="secret answer"))
    fake.always("bad", faults.holding("secret answer"))
    fake.always("worse", faults.wrong_usage("secret answer"))
    ended = await run(fake, "worse")
    assert ended.stderr == b""
